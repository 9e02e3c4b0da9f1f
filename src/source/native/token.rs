//! Bearer tokens from a file that somebody rotates.
//!
//! Laws: a file that has changed counts from the next request on, also after the server has
//! refused the token in a way that the file's times do not explain; white space around the
//! token does not; a file that cannot be read leaves the last token in use. (kube's own
//! reading is up to a minute late and sends a newline at the end as it is.)

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use kube::client::Body;
use tower::{Layer, Service};
use tracing::warn;

/// No token is longer, in bytes.
const MAX_TOKEN: u64 = 1 << 20;

/// A file with a token.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    known: Mutex<Known>,
}

/// The token as it was read last.
#[derive(Debug)]
struct Known {
    header: HeaderValue,
    /// What the file was then; `None` asks for another look.
    stamp: Option<Stamp>,
    /// The last attempt to read it has failed.
    unreadable: bool,
}

/// Tells whether a file is another one, or has other contents.
type Stamp = (i64, i64, u64, u64);

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or it holds nothing that could be a token.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let (header, stamp) = read(&path)?;
        let known = Mutex::new(Known {
            header,
            stamp: Some(stamp),
            unreadable: false,
        });
        Ok(Self { path, known })
    }

    /// The value of the `Authorization` header, from the file as it is now if that can be read.
    fn header(&self) -> HeaderValue {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).map(|file| stamp(&file)).ok();
        if known.stamp.is_none() || known.stamp != now {
            match read(&self.path) {
                Ok((header, stamp)) => {
                    *known = Known {
                        header,
                        stamp: Some(stamp),
                        unreadable: false,
                    };
                }
                Err(error) => {
                    if !std::mem::replace(&mut known.unreadable, true) {
                        let path = self.path.display();
                        warn!(%path, %error, "cannot read the token anew, its last value is used");
                    }
                }
            }
        }
        known.header.clone()
    }

    /// The server does not take the token: the next request looks at the file in any case.
    fn doubt(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.stamp = None;
    }
}

fn read(path: &std::path::Path) -> io::Result<(HeaderValue, Stamp)> {
    let file = File::open(path)?;
    let stamp = stamp(&file.metadata()?);
    let mut text = String::new();
    file.take(MAX_TOKEN).read_to_string(&mut text)?;
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let token = text.trim();
    if token.is_empty() {
        return Err(invalid("the file holds no token"));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| invalid("what the file holds is no token"))?;
    header.set_sensitive(true);
    Ok((header, stamp))
}

fn stamp(file: &Metadata) -> Stamp {
    (file.mtime(), file.mtime_nsec(), file.ino(), file.size())
}

/// Adds the token of a file to each request.
#[derive(Clone, Debug)]
pub struct TokenLayer(pub Arc<TokenFile>);

impl<S> Layer<S> for TokenLayer {
    type Service = WithToken<S>;

    fn layer(&self, inner: S) -> WithToken<S> {
        WithToken {
            inner,
            token: self.0.clone(),
        }
    }
}

/// See [`TokenLayer`].
#[derive(Debug)]
pub struct WithToken<S> {
    inner: S,
    token: Arc<TokenFile>,
}

impl<S, B> Service<Request<Body>> for WithToken<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.token.header());
        let answer = self.inner.call(request);
        let token = self.token.clone();
        Box::pin(async move {
            let answer = answer.await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                token.doubt();
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_new_token_counts_at_once_and_white_space_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "one\n").unwrap();
        let token = TokenFile::open(path.clone()).unwrap();
        assert_eq!(token.header(), "Bearer one");
        assert!(token.header().is_sensitive());
        // As a kubelet does it: another file takes the name.
        let next = dir.path().join("next");
        fs::write(&next, " two \r\n").unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!(token.header(), "Bearer two");
        fs::write(&path, "three").unwrap();
        assert_eq!(token.header(), "Bearer three");
    }

    #[test]
    fn a_refused_token_is_read_again_although_the_file_looks_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "one").unwrap();
        let old = fs::metadata(&path).unwrap().modified().unwrap();
        let token = TokenFile::open(path.clone()).unwrap();
        fs::write(&path, "two").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert_eq!(
            token.header(),
            "Bearer one",
            "nothing shows that it is another"
        );
        token.doubt();
        assert_eq!(token.header(), "Bearer two");
    }

    #[test]
    fn a_file_that_goes_or_empties_leaves_the_last_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "one").unwrap();
        let token = TokenFile::open(path.clone()).unwrap();
        fs::write(&path, "\n").unwrap();
        assert_eq!(token.header(), "Bearer one");
        fs::remove_file(&path).unwrap();
        assert_eq!(token.header(), "Bearer one");
        fs::write(&path, "two").unwrap();
        assert_eq!(token.header(), "Bearer two");
    }

    #[test]
    fn a_file_without_a_token_is_refused_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for text in ["", " \n", "a\u{0}b", "a\nb"] {
            fs::write(&path, text).unwrap();
            assert!(TokenFile::open(path.clone()).is_err(), "{text:?}");
        }
    }
}
