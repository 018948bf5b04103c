//! The admin port and the metrics.

use super::{Answer, House};

impl House {
    /// The admin token that the registry drew.
    pub fn admin_token(&self) -> String {
        let text = std::fs::read_to_string(self.directory().join("admin.token")).unwrap();
        text.trim().to_owned()
    }

    /// The metrics as they are shown.
    pub async fn metrics(&self) -> String {
        let answer: Answer = self.admin("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.summary());
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The value of one series, `name{label="value"}` with its labels as they are shown; none if there is no such
    /// series.
    pub async fn metric(&self, series: &str) -> Option<u64> {
        let metrics = self.metrics().await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}
