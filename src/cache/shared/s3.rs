//! Objects in a bucket of an S3-compatible store.

use std::error::Error as StdError;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig};

use super::{Answer, BlockStore, Found, Limits, StoreError};
use crate::cache::{Access, RemoteUrl};
use crate::value::Digest;

/// Part of every name, so that a change of what is in an object does not meet objects of before.
const GENERATION: &str = "v1";
/// Number of times that a failed request is sent again where that is of use: no connection, HTTP 5xx, 429.
const RETRIES: usize = 2;

/// A bucket.
#[derive(Debug)]
pub(super) struct S3 {
    client: AmazonS3,
    bucket: String,
    prefix: String,
    /// As messages name the store.
    endpoint: String,
    limits: Limits,
}

impl S3 {
    /// Prepares a client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// There are no credentials, or the system has no certificates; as a reason for a warning.
    pub fn open(url: &RemoteUrl, access: &Access, limits: &Limits) -> Result<S3, String> {
        let settings = &access.settings;
        if settings.credentials.is_none() && !settings.unsigned {
            return Err("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set".into());
        }
        // Someone else may have chosen before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = builder(url, access, limits).build().map_err(|error| root_cause(&error))?;
        let endpoint = settings.endpoint.clone().unwrap_or_else(|| "https://s3.amazonaws.com".into());
        let (bucket, prefix) = (url.bucket().to_owned(), url.prefix().to_owned());
        Ok(S3 { client, bucket, prefix, endpoint, limits: limits.clone() })
    }

    /// Two digits of the name are a directory, for stores that are file systems below.
    fn path(&self, name: Digest) -> Path {
        let name = name.to_string();
        Path::from(format!("{}/{GENERATION}/{}/{name}", self.prefix, &name[..2]))
    }

    async fn get(&self, name: Digest, max_len: u64) -> object_store::Result<Found> {
        let found = self.client.get(&self.path(name)).await?;
        if found.meta.size > max_len {
            return Ok(Found::TooLong);
        }
        Ok(Found::Body(found.bytes().await?.into()))
    }
}

impl BlockStore for S3 {
    fn fetch(&self, name: Digest, max_len: u64) -> Answer<'_, Found> {
        Box::pin(async move {
            self.get(name, max_len).await.or_else(|error| {
                let answer = Reply::from_error(&error);
                match (answer.status, answer.code.as_str()) {
                    (404, code) if code != "NoSuchBucket" => Ok(Found::Nothing),
                    // Who may not list a bucket gets this answer where there is nothing. If nothing at all is allowed, the
                    // first upload shows it.
                    (403, "AccessDenied") => Ok(Found::Nothing),
                    _ => Err(self.explain(&error, answer)),
                }
            })
        })
    }

    fn store(&self, name: Digest, body: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            let put = self.client.put(&self.path(name), body.into()).await;
            put.map(drop).map_err(|error| self.explain(&error, Reply::from_error(&error)))
        })
    }
}

impl S3 {
    fn explain(&self, error: &object_store::Error, answer: Reply) -> StoreError {
        let endpoint = self.endpoint.clone();
        match answer.status {
            0 => self.explain_transport(error),
            404 if answer.code == "NoSuchBucket" => {
                StoreError::NoBucket { endpoint, bucket: self.bucket.clone() }
            }
            401 | 403 => StoreError::Denied { endpoint, answer: answer.to_string() },
            400 if answer.code == "ExpiredToken" || answer.code == "InvalidToken" => {
                StoreError::Denied { endpoint, answer: answer.to_string() }
            }
            _ => StoreError::Refused { endpoint, answer: answer.to_string() },
        }
    }

    /// No HTTP status came.
    fn explain_transport(&self, error: &object_store::Error) -> StoreError {
        let (endpoint, reason) = (self.endpoint.clone(), root_cause(error));
        let kind = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()).map(HttpError::kind);
        match kind {
            Some(HttpErrorKind::Timeout) => StoreError::Timeout { endpoint, limit: self.limit(error) },
            Some(HttpErrorKind::Connect) => StoreError::Connect { endpoint, reason },
            _ => StoreError::Nonsense { endpoint, reason },
        }
    }

    /// Limit that a request ran into. Only the text of the HTTP client says that it was the one for connections.
    fn limit(&self, error: &object_store::Error) -> Duration {
        let connecting = causes(error).any(|cause| cause.to_string().contains("(Connect)"));
        if connecting { self.limits.connect } else { self.limits.answer }
    }
}

fn builder(url: &RemoteUrl, access: &Access, limits: &Limits) -> AmazonS3Builder {
    let settings = &access.settings;
    // A body that drips in is stopped by the limit for the whole build.
    let client = ClientOptions::new()
        .with_connect_timeout(limits.connect)
        .with_read_timeout(limits.answer)
        .with_timeout_disabled()
        .with_allow_http(settings.allow_http);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(url.bucket())
        .with_client_options(client)
        .with_retry(retry(limits))
        .with_skip_signature(settings.credentials.is_none())
        .with_virtual_hosted_style_request(settings.virtual_hosted);
    if let Some((id, secret, token)) = &settings.credentials {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = token {
            builder = builder.with_token(token);
        }
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder
}

/// Soon, and not after a time-out: who did not answer for that long is not worth a second wait.
fn retry(limits: &Limits) -> RetryConfig {
    let init_backoff = Duration::from_millis(100);
    let backoff = BackoffConfig { init_backoff, max_backoff: Duration::from_secs(1), base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: limits.connect.min(limits.answer) / 2 }
}

/// Answer of the store instead of an object.
struct Reply {
    /// HTTP status; 0 if none came.
    status: u16,
    /// The code of the error, for example `NoSuchKey`; empty if it has none.
    code: String,
}

impl Reply {
    /// The type that holds both is private to `object_store`; its text has the status, a colon and the body.
    fn from_error(error: &object_store::Error) -> Reply {
        let texts = causes(error).map(ToString::to_string);
        let answer = texts.filter_map(|text| Some(text.split_once("status code: ")?.1.to_owned())).next();
        let answer = answer.unwrap_or_default();
        let status = answer.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        Reply { status, code: code(&answer).unwrap_or_default().to_owned() }
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.code.is_empty() { "" } else { " " };
        write!(f, "HTTP {}{space}{}", self.status, self.code)
    }
}

/// The code in an error body. Only that is shown: the rest of it can repeat the request with its signature.
fn code(body: &str) -> Option<&str> {
    let code = body.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then_some(code)
}

/// An error, what caused it, and so on.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// First cause, as the system or a library reports it, on one line.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let text = causes(error).last().map(ToString::to_string).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
