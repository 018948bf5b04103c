//! `why`: what is known of an image, and what its next pull would do (O5).

use quayside_config::Config;
use quayside_registry::Image;
use quayside_registry::tools::explanation_in_words;

use super::Failure;
use super::tools::{Output, ask, print};

/// Ends well whatever the answer is.
pub(super) fn why(config: &Config, image: &str, login: Option<&str>, output: Output) -> Result<(), Failure> {
    // What cannot be read is said without a server too.
    Image::parse(image, &config.server_hostname).map_err(|error| Failure::Configuration(error.into()))?;
    let document = ask(config, async |server| server.why(image, login).await)?;
    print(output, &document, || explanation_in_words(&document));
    Ok(())
}
