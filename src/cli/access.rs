//! The flags about who may call the API and how replies travel.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method};

use super::serve::{size, time};
use crate::config::{AccessConfig, AllowedOrigin, CorsConfig};
use crate::error::{Error, Result};
use crate::server::auth;

/// Who may call the API and how replies travel.
#[derive(Debug, clap::Args)]
pub(super) struct AccessArguments {
    /// The file with the hashes of the tokens that are let in, in TOML; `tfbridge token` makes an
    /// entry. It is read again when it changes. Without it, everybody is let in.
    #[arg(long, env = "TFBRIDGE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// An origin whose web pages may call the API: `https://example.com`, `https://*.example.com`
    /// or `*`. Repeat it for more.
    #[arg(long, env = "TFBRIDGE_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    cors_origin: Vec<AllowedOrigin>,
    /// A method that those pages may use. Repeat it for more; the first one replaces the defaults.
    #[arg(long, env = "TFBRIDGE_CORS_METHOD", value_delimiter = ',', default_value = "GET,HEAD,POST", value_name = "METHOD", value_parser = method)]
    cors_method: Vec<Method>,
    /// A request header that those pages may send. Repeat it for more; the first one replaces the
    /// defaults.
    #[arg(
        long,
        env = "TFBRIDGE_CORS_HEADER",
        value_delimiter = ',',
        default_value = "authorization,content-encoding,content-type,grpc-timeout,inference-header-content-length,traceparent,tracestate,x-api-key,x-request-id,x-request-timeout",
        value_name = "NAME"
    )]
    cors_header: Vec<HeaderName>,
    /// How long browsers may remember what those pages may do.
    #[arg(long, env = "TFBRIDGE_CORS_MAX_AGE", default_value = "1h", value_name = "TIME", value_parser = time)]
    cors_max_age: Duration,
    /// From which size on a reply is compressed with gzip for clients that take it; `off` for never.
    #[arg(long, env = "TFBRIDGE_COMPRESS_MIN_SIZE", default_value = "32KiB", value_name = "SIZE", value_parser = size_or_off)]
    compress_min_size: SizeOrOff,
}

/// A size, if there is one. A type of its own, since an `Option` would mean to clap that the flag
/// may be absent.
#[derive(Debug, Clone, Copy)]
struct SizeOrOff(Option<usize>);

impl AccessArguments {
    /// The configuration, with a file of tokens that has been read once to see that it can be used.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for such a file that cannot, and for two ways of CORS at once.
    pub(super) fn into_config(self, every_origin: bool) -> Result<AccessConfig> {
        if let Some(path) = &self.auth_file {
            auth::file::read(path).map_err(|error| {
                Error::invalid_argument(format!("The file of tokens {}: {error}", path.display()))
            })?;
        }
        if every_origin && !self.cors_origin.is_empty() {
            return Err(Error::invalid_argument("--cors lets every origin in: use --cors-origin without it"));
        }
        let cors = CorsConfig {
            methods: self.cors_method,
            headers: self.cors_header,
            max_age: self.cors_max_age,
            ..CorsConfig::new(self.cors_origin)
        };
        Ok(AccessConfig {
            auth_file: self.auth_file,
            cors: Some(cors).filter(|cors| !cors.origins.is_empty()),
            compress_min_size: self.compress_min_size.0,
        })
    }
}

/// A method, of those that HTTP knows: in lower case, it would never match.
fn method(text: &str) -> Result<Method, String> {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let method = known.into_iter().chain([Method::OPTIONS]).find(|method| method.as_str() == text.trim());
    method.ok_or_else(|| "a method such as GET or POST is expected".to_owned())
}

fn size_or_off(text: &str) -> Result<SizeOrOff, String> {
    if text == "off" { Ok(SizeOrOff(None)) } else { size(text).map(|size| SizeOrOff(Some(size))) }
}
