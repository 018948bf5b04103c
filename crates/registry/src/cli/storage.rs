//! `storage adopt`: a storage and a database that were not made for each other (C4).

use anyhow::Context as _;
use quayside_config::Config;
use quayside_registry::{Adopted, adopt_storage};

#[expect(clippy::print_stdout, reason = "what this command is for")]
pub(super) fn adopt(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let Adopted {
        id,
        storage,
        database,
    } = runtime.block_on(adopt_storage(config))?;
    println!("the database {database} belongs to the storage {storage} with the id {id}");
    Ok(())
}
