use tempfile::TempDir;

use super::*;

struct Files {
    tls: Tls,
    _directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tls = Tls {
            certificate_file: directory.path().join("tls.crt"),
            key_file: directory.path().join("tls.key"),
        };
        Self {
            tls,
            _directory: directory,
        }
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(&self.tls.certificate_file, certificate).unwrap();
        std::fs::write(&self.tls.key_file, key).unwrap();
    }
}

fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// C6: what does not fit together, half a renewal for example, changes nothing; what fits is taken.
#[test]
fn a_bad_pair_keeps_the_old_one() {
    let files = Files::new();
    let ((first, first_key), (second, second_key)) = (pair("a.test"), pair("b.test"));
    files.write(&first, &first_key);
    let certificates = Certificates::load(&files.tls).unwrap();
    let old = certificates.current.load_full();
    for (certificate, key) in [
        (&second, &first_key),
        (&first, &second_key),
        (&String::new(), &second_key),
        (&second, &"no key".to_owned()),
        (&"no certificate".to_owned(), &second_key),
    ] {
        files.write(certificate, key);
        certificates.reload();
        assert!(Arc::ptr_eq(&old, &certificates.current.load_full()));
    }
    std::fs::remove_file(&files.tls.key_file).unwrap();
    certificates.reload();
    assert!(Arc::ptr_eq(&old, &certificates.current.load_full()));
    files.write(&second, &second_key);
    certificates.reload();
    let new = certificates.current.load_full();
    assert!(!Arc::ptr_eq(&old, &new));
    certificates.reload();
    assert!(
        Arc::ptr_eq(&new, &certificates.current.load_full()),
        "nothing changed, so tickets stay good"
    );
}

/// C6: only HTTP/1.1 is offered.
#[test]
fn offers_http_1_1_only() {
    let files = Files::new();
    let (certificate, key) = pair("a.test");
    files.write(&certificate, &key);
    let certificates = Certificates::load(&files.tls).unwrap();
    assert_eq!(certificates.current.load().alpn_protocols, [b"http/1.1"]);
}

/// C6, A6: a start with a bad pair says which file is to blame and nothing of what is in it.
#[test]
fn says_which_file_is_bad() {
    let files = Files::new();
    let (certificate, key) = pair("a.test");
    let error = |certificate: &str, key: &str| {
        files.write(certificate, key);
        let error = Certificates::load(&files.tls).err().unwrap();
        format!("{:#}", anyhow::Error::from(error))
    };
    assert!(error("", &key).ends_with("tls.crt"));
    let secret = "-----BEGIN canary-secret";
    let bad_key = error(&certificate, secret);
    assert!(
        bad_key.ends_with("tls.key") && !bad_key.contains("canary"),
        "{bad_key}"
    );
    let other = error(&certificate, &pair("b.test").1);
    assert!(other.contains("tls.crt") && other.contains("tls.key"), "{other}");
}
