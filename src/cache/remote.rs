//! Address and access of a shared cache: its URL, and what the environment says about the store.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | credentials; without them the cache is not used |
//! | `AWS_SESSION_TOKEN` | belongs to credentials that expire |
//! | `AWS_SKIP_SIGNATURE` | `true`: no credentials are needed to read |
//! | `AWS_REGION`, `AWS_DEFAULT_REGION` | region of the bucket; `us-east-1` without |
//! | `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` | another store than Amazon's |
//! | `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` | `true`: the bucket is in the host name of the endpoint |
//! | `AWS_ALLOW_HTTP` | `true`: the endpoint may be one without encryption |
//!
//! Nothing else is asked: no profile files, and no metadata service of a cloud, which outside of one answers
//! never.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::BlockCache;
use crate::error::Diagnostic;

/// Reason why a shared cache cannot be used at all. Failures while it is used are warnings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "the store itself, if it is not Amazon's, is named by AWS_ENDPOINT_URL")]
pub enum RemoteError {
    /// Not the URL of a store, or of nothing in one.
    #[error("`{url}` is not a shared cache: expected `s3://BUCKET` or `s3://BUCKET/PREFIX`")]
    Url {
        /// Given text, without what may be secret.
        url: String,
    },
    /// Not what a bucket can be called.
    #[error(
        "`{bucket}` cannot be a bucket: names have 3 to 63 lower-case letters, digits, dots and hyphens, \
         this one has {}",
        bucket.len()
    )]
    Bucket {
        /// Given text.
        bucket: String,
    },
    /// Credentials, or a query that may hold some, where command lines, logs and process lists show them.
    #[error("{place} `{url}` has credentials or a query in it")]
    #[diagnostic(
        hint = "take that out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    )]
    Secret {
        /// Place of the URL.
        place: String,
        /// Given text, without credentials and query.
        url: String,
    },
    /// Not the address of a store.
    #[error("`{variable}` is `{url}`, which is not an address: expected `https://HOST` or `http://HOST`")]
    #[diagnostic(hint = None)]
    Endpoint {
        /// Environment variable.
        variable: &'static str,
        /// Its value.
        url: String,
    },
    /// Credentials are signed, but what is fetched could be changed on the way.
    #[error("`{variable}` is `{url}`, which is not encrypted")]
    #[diagnostic(hint = "use https, or set AWS_ALLOW_HTTP=true where the network can be trusted")]
    PlainHttp {
        /// Environment variable.
        variable: &'static str,
        /// Its value.
        url: String,
    },
    /// The feature `object-store` is off.
    #[error("this program was built without shared caches, so `{url}` cannot be used")]
    #[diagnostic(
        kind = Unsupported,
        hint = "build with the feature `object-store`",
        code = "no-object-store"
    )]
    NotBuilt {
        /// Given URL.
        url: RemoteUrl,
    },
}

/// A bucket and what the names of a cache's objects begin with: `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    bucket: String,
    prefix: String,
}

impl RemoteUrl {
    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The prefix without slashes around it; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let shown = without_secrets(text);
        if shown != text {
            return Err(RemoteError::Secret { place: "the shared cache".into(), url: shown });
        }
        let rest = text.strip_prefix("s3://").ok_or(RemoteError::Url { url: shown.clone() })?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(RemoteError::Url { url: shown });
        }
        if !is_bucket(bucket) {
            return Err(RemoteError::Bucket { bucket: bucket.into() });
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
            return Err(RemoteError::Url { url: shown });
        }
        Ok(RemoteUrl { bucket: bucket.into(), prefix: prefix.into() })
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn is_bucket(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(allowed)
}

/// Returns whether every store takes a segment as it is, and no file system below a store takes it for more than a
/// name.
fn is_segment(segment: &str) -> bool {
    let is_name = !segment.is_empty() && segment != "." && segment != "..";
    is_name && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_=+".contains(&byte))
}

/// A URL without what stands before an `@`, and from `?` or `#` on.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((before, behind)) = url.rsplit_once('@') else {
        return url.into();
    };
    let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://"));
    format!("{}{behind}", scheme.unwrap_or_default())
}

/// Settings of the store from the environment. `Debug` shows no credentials.
#[derive(Clone, Default)]
pub struct Access {
    #[cfg_attr(
        not(feature = "object-store"),
        expect(dead_code, reason = "checked, but there is no use for it")
    )]
    pub(super) settings: Settings,
}

/// See [`Access`].
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "object-store"), expect(dead_code, reason = "checked, but there is no use for it"))]
pub(super) struct Settings {
    /// Access key, secret and, if they expire, token.
    pub credentials: Option<(String, String, Option<String>)>,
    pub unsigned: bool,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub virtual_hosted: bool,
    pub allow_http: bool,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// From the variables of this process.
    ///
    /// # Errors
    ///
    /// See [`Access::from_variables`].
    pub(crate) fn from_env() -> Result<Access, RemoteError> {
        Access::from_variables(|variable| std::env::var(variable).ok())
    }

    /// From the variables that `variable` knows; empty ones count as not set.
    ///
    /// # Errors
    ///
    /// An endpoint that is no address, has credentials in it, or is not encrypted without `AWS_ALLOW_HTTP`.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Access, RemoteError> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_on =
            |name: &str| get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
        let token = get("AWS_SESSION_TOKEN");
        let keys = get("AWS_ACCESS_KEY_ID").zip(get("AWS_SECRET_ACCESS_KEY"));
        let allow_http = is_on("AWS_ALLOW_HTTP");
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
            .into_iter()
            .find_map(|name| Some((name, get(name)?)))
            .map(|(name, url)| check_endpoint(name, url, allow_http))
            .transpose()?;
        Ok(Access {
            settings: Settings {
                credentials: keys.map(|(id, secret)| (id, secret, token)),
                unsigned: is_on("AWS_SKIP_SIGNATURE"),
                region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")),
                endpoint,
                virtual_hosted: is_on("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"),
                allow_http,
            },
        })
    }
}

fn check_endpoint(variable: &'static str, url: String, allow_http: bool) -> Result<String, RemoteError> {
    let shown = without_secrets(&url);
    if shown != url {
        return Err(RemoteError::Secret { place: format!("`{variable}`"), url: shown });
    }
    let plain = url.strip_prefix("http://");
    let host = plain.or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace))
    {
        return Err(RemoteError::Endpoint { variable, url });
    }
    if plain.is_some() && !allow_http {
        return Err(RemoteError::PlainHttp { variable, url });
    }
    Ok(url)
}

/// A cache that shares what `local` keeps through the store at `url`, with the [`Access`] of the environment.
///
/// # Errors
///
/// A URL or an environment that cannot be meant. A store that cannot be used, and missing credentials, which are
/// usual for builds of a fork, are a warning of [`BlockCache::finish`].
pub(crate) fn with_remote(local: Arc<dyn BlockCache>, url: &str) -> Result<Arc<dyn BlockCache>, RemoteError> {
    let url: RemoteUrl = url.parse()?;
    let access = Access::from_env()?;
    open(local, &url, &access)
}

#[cfg(feature = "object-store")]
fn open(
    local: Arc<dyn BlockCache>,
    url: &RemoteUrl,
    access: &Access,
) -> Result<Arc<dyn BlockCache>, RemoteError> {
    Ok(super::share(local, url, access, super::Limits::default()))
}

#[cfg(not(feature = "object-store"))]
fn open(_: Arc<dyn BlockCache>, url: &RemoteUrl, _: &Access) -> Result<Arc<dyn BlockCache>, RemoteError> {
    Err(RemoteError::NotBuilt { url: url.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        let error = url.parse::<RemoteUrl>().expect_err(url);
        format!("{error}; {}", error.hint().expect("it has one"))
    }

    fn access(variables: &[(&str, &str)]) -> Result<Access, RemoteError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Access::from_variables(|name| find(name).map(|(_, value)| (*value).into()))
    }

    #[test]
    fn urls_round_trip_without_the_last_slash() {
        for url in ["s3://bucket", "s3://my.bucket-1/ci/skiff_v1"] {
            assert_eq!(url.parse::<RemoteUrl>().expect(url).to_string(), url);
            assert_eq!(format!("{url}/").parse::<RemoteUrl>().expect(url).to_string(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let hint = "the store itself, if it is not Amazon's, is named by AWS_ENDPOINT_URL";
        let no_cache = "is not a shared cache: expected `s3://BUCKET` or `s3://BUCKET/PREFIX`";
        for url in
            ["https://host/bucket", "s3://", "s3:///prefix", "s3://bucket/a//b", "s3://bucket/../b", ""]
        {
            assert_eq!(refusal(url), format!("`{url}` {no_cache}; {hint}"));
        }
        assert_eq!(
            refusal("s3://My_Bucket/x"),
            format!(
                "`My_Bucket` cannot be a bucket: names have 3 to 63 lower-case letters, digits, dots and \
                 hyphens, this one has 9; {hint}"
            )
        );
    }

    #[test]
    fn secrets_in_urls_are_refused_and_not_repeated() {
        let hint = "take that out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment";
        for url in ["s3://AKIA:hush@bucket/p", "s3://AKIA@bucket/p", "s3://bucket/p?X-Amz-Signature=hush"] {
            let expected =
                format!("the shared cache `s3://bucket/p` has credentials or a query in it; {hint}");
            assert_eq!(refusal(url), expected);
        }
        let error = access(&[("AWS_ENDPOINT_URL", "https://AKIA:hush@host:9000")]).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "`AWS_ENDPOINT_URL` `https://host:9000` has credentials or a query in it"
        );
    }

    #[test]
    fn endpoints_are_addresses_and_encrypted() {
        let refusal = |variables| access(variables).expect_err("refused");
        assert_eq!(
            refusal(&[("AWS_ENDPOINT_URL", "localhost:9000")]).to_string(),
            "`AWS_ENDPOINT_URL` is `localhost:9000`, which is not an address: expected `https://HOST` or `http://HOST`"
        );
        let plain = refusal(&[("AWS_ENDPOINT_URL_S3", "http://host")]);
        assert_eq!(plain.to_string(), "`AWS_ENDPOINT_URL_S3` is `http://host`, which is not encrypted");
        assert_eq!(
            plain.hint().as_deref(),
            Some("use https, or set AWS_ALLOW_HTTP=true where the network can be trusted")
        );
        access(&[("AWS_ENDPOINT_URL_S3", "http://host"), ("AWS_ALLOW_HTTP", "true")]).expect("allowed");
    }

    #[test]
    fn credentials_are_not_shown() {
        let access = access(&[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")]);
        assert_eq!(format!("{:?}", access.expect("valid")), "Access { .. }");
    }

    #[test]
    #[cfg(not(feature = "object-store"))]
    fn a_program_without_the_feature_says_so() {
        let error = RemoteError::NotBuilt { url: "s3://bucket/p".parse().expect("valid") };
        assert_eq!(
            format!("{error}; {}", error.hint().expect("it has one")),
            "this program was built without shared caches, so `s3://bucket/p` cannot be used; \
             build with the feature `object-store`"
        );
        assert_eq!(error.kind(), crate::error::ErrorKind::Unsupported);
    }
}
