//! `migrate`: the tables of the database, brought up to date (C4).

use anyhow::Context as _;
use quayside_config::Config;

#[expect(clippy::print_stdout, reason = "what this command is for")]
pub(super) fn migrate(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let database = runtime.block_on(quayside_registry::migrate(config))?;
    println!("the database {database} is up to date");
    Ok(())
}
