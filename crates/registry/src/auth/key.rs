//! The keys that tokens are signed with (A1).

use anyhow::Context as _;
use quayside_metadata::Metadata;

const SETTING: &str = "signing-key";
const BYTES: usize = 32;

/// At least one key; the first signs, all verify.
pub(crate) struct SigningKeys(Vec<Vec<u8>>);

impl SigningKeys {
    /// Reads a key a line, each at least 32 bytes in hex.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .enumerate();
        let keys = lines.map(|(index, line)| decode(line).with_context(|| format!("line {}", index + 1)));
        let keys: Vec<_> = keys.collect::<anyhow::Result<_>>()?;
        anyhow::ensure!(!keys.is_empty(), "there is no key in it");
        Ok(Self(keys))
    }

    /// The key that the database keeps, made at the first start.
    pub(crate) async fn of_database(metadata: &Metadata) -> anyhow::Result<Self> {
        let mut fresh = [0_u8; BYTES];
        aws_lc_rs::rand::fill(&mut fresh).map_err(|_| anyhow::anyhow!("draw a random signing key"))?;
        let key = metadata
            .setting_or_insert(SETTING, &fresh)
            .await
            .context("read the signing key")?;
        anyhow::ensure!(key.len() >= BYTES, "the signing key in the database is too short");
        Ok(Self(vec![key]))
    }

    pub(crate) fn first(&self) -> &[u8] {
        self.0.first().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// The error never repeats the line: it is a secret (A6).
fn decode(line: &str) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(
        line.len().is_multiple_of(2) && line.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "is not hex"
    );
    anyhow::ensure!(line.len() >= 2 * BYTES, "has fewer than {BYTES} bytes");
    let byte = |index| u8::from_str_radix(&line[index..index + 2], 16).context("is not hex");
    (0..line.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A1: a key a line, at least 32 bytes in hex; the first signs.
    #[test]
    fn reads_a_key_a_line() {
        let (one, two) = ("01".repeat(32), "a2".repeat(40));
        let keys = SigningKeys::parse(&format!("{one}\n\n{two}\n")).unwrap();
        assert_eq!(keys.first(), [1_u8; 32]);
        assert_eq!(keys.all().count(), 2);
    }

    /// A1, A6: bad keys are refused without being repeated.
    #[test]
    fn refuses_short_and_odd_keys_without_repeating_them() {
        for bad in ["", "\n\n", "0123", &"xy".repeat(32), &"0".repeat(65)] {
            let error = format!("{:#}", SigningKeys::parse(bad).err().unwrap());
            assert!(bad.trim().is_empty() || !error.contains(bad), "{error}");
        }
    }
}
