//! SPEC C4: one process per database, and the storage that belongs to it.

use quayside_tests::program::Program;
use quayside_tests::tools::Outcome;

/// Nothing but a sentence that names everything in `names`, and status 1.
fn assert_refused(outcome: &Outcome, names: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome}");
    for name in names {
        assert!(outcome.stderr.contains(name), "{name} is not named: {outcome}");
    }
    let last = outcome.stderr.trim().lines().last().unwrap_or_default();
    assert!(last.starts_with("quayside-registry: "), "{outcome}");
}

/// C4: a second process on the same database ends with a sentence that names the file; the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_database_is_refused() {
    let program = Program::start(&[]).await;
    let database = program.database().display().to_string();
    assert_refused(&program.run(&["serve"]).await, &[&database]);
    assert_refused(&program.run(&["storage", "adopt"]).await, &[&database]);
    let url = format!("http://{}/v2/", program.address());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(url).send().await.unwrap().status(), 401);
}

/// C4: a storage of another installation, an empty one, and one whose database was lost are refused with a sentence;
/// `storage adopt` accepts each.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_does_not_belong_is_refused_until_it_is_adopted() {
    let (mut ours, mut theirs) = (Program::start(&[]).await, Program::start(&[]).await);
    assert_eq!((ours.stop().await, theirs.stop().await), (Some(0), Some(0)));
    let (blobs, database) = (ours.blobs(), ours.database());
    let names = [blobs.display().to_string(), database.display().to_string()];
    let names = [names[0].as_str(), names[1].as_str(), "storage adopt"];
    let kept = blobs.with_extension("kept");

    // Another installation's.
    std::fs::rename(&blobs, &kept).unwrap();
    std::fs::rename(theirs.blobs(), &blobs).unwrap();
    assert_refused(&ours.run(&["serve"]).await, &names);
    assert_refused(&ours.run(&["serve"]).await, &names);
    // Nothing mounted.
    std::fs::remove_dir_all(&blobs).unwrap();
    assert_refused(&ours.run(&["serve"]).await, &names);
    // The right one again.
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::rename(&kept, &blobs).unwrap();
    ours.resume().await;
    assert_eq!(ours.stop().await, Some(0));
    // A lost database.
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
    assert_refused(&ours.run(&["serve"]).await, &names);
    let adopted = ours.run(&["storage", "adopt"]).await.ok();
    assert!(
        adopted.contains(names[0]) && adopted.contains(names[1]),
        "{adopted}"
    );
    ours.resume().await;
    assert_eq!(ours.stop().await, Some(0));
}

/// C4: what is wrong with config.yaml is told as such.
#[tokio::test(flavor = "multi_thread")]
async fn adopting_by_a_bad_configuration_is_a_fault_of_configuration() {
    let program = Program::start(&[]).await;
    std::fs::write(program.config(), "nothing: good").unwrap();
    let outcome = program.run(&["storage", "adopt"]).await;
    assert_eq!(outcome.code, Some(2), "{outcome}");
}
