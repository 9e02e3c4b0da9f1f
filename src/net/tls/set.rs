//! Certificate chain, key and authorities as one set, out of PEM.
//!
//! Invariants: the parts of a set belong together: the key is the leaf's, and all of them can be
//! used at the given time. Whatever the files hold, what comes of it is a set or one line.

use std::{path::Path, sync::Arc, time::Duration};

use tokio_rustls::rustls::{
    self, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

use super::{
    certificate::{ClientCert, Validity, date, validity},
    files::{Authorities, Contents, Paths},
};

/// Kinds of keys, for people.
pub const KINDS: &str = "RSA of 2048 to 8192 bits, ECDSA P-256 and P-384, Ed25519";

/// Certificates of one part that are shown, at most.
const MOST_SHOWN: usize = 8;

/// What TLS needs, in its final form.
#[derive(Clone, Debug)]
pub struct Set {
    /// Our chain and its key.
    pub identity: Option<Arc<CertifiedKey>>,
    /// Who vouches for peers.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// What was read, for people and metrics. The system's authorities are left out.
    pub certificates: Vec<Certificate>,
}

/// A certificate of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What it is for.
    pub part: Part,
    /// Its place in its file, from 0; at most 7.
    pub index: usize,
    /// Its subject.
    pub subject: String,
    /// The DNS names and URIs of a leaf.
    pub names: Vec<String>,
    /// When it is valid, if it says so in a form that is read.
    pub validity: Option<Validity>,
}

/// What a certificate of a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is of our own chain.
    Chain,
    /// It is an authority.
    Authority,
}

impl Part {
    /// The name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Authority => "authority",
        }
    }
}

/// How a certificate and its key are called where they come from.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The certificate.
    pub certificate: &'a str,
    /// The key.
    pub key: &'a str,
}

impl Set {
    /// Takes what the files hold, if all of it can be used at `now`, the time since the UNIX
    /// epoch.
    ///
    /// # Errors
    /// It cannot be used; the line names the file.
    pub(super) fn parse(contents: &Contents, paths: &Paths, now: Duration) -> Result<Self, String> {
        let provider = ring::default_provider();
        let mut certificates = Vec::new();
        let identity = match (&contents.identity, &paths.identity) {
            (Some((certificate, key)), Some((certificate_path, key_path))) => {
                let (at, key_at) = (shown(certificate_path), shown(key_path));
                let named = Named {
                    certificate: &format!("the certificate file {at}"),
                    key: &format!("the key file {key_at}"),
                };
                let identity = identity(certificate, key, &provider, named)?;
                let chain = certificates_of(Part::Chain, &identity.cert);
                if let Some(leaf) = chain.first() {
                    leaf.check(now)
                        .map_err(|why| format!("{} {why}", named.certificate))?;
                }
                certificates.extend(chain);
                Some(Arc::new(identity))
            }
            _ => None,
        };
        let authorities = match (&contents.authorities, &contents.of_the_system) {
            (Some(pem), _) => {
                let what = match &paths.authorities {
                    Authorities::File(path) => format!("the authorities file {}", shown(path)),
                    Authorities::None | Authorities::System => "the authorities".to_owned(),
                };
                let found = authorities(pem).map_err(|why| format!("{what} {why}"))?;
                let shown = certificates_of(Part::Authority, &found);
                let mut flaws = shown.iter().filter_map(|one| one.check(now).err());
                // One of several may be over: they are renewed side by side.
                let flawed = flaws.next();
                if let Some(why) = flawed
                    && flaws.count() + 1 == found.len()
                {
                    return Err(format!("{what} {why}"));
                }
                certificates.extend(shown);
                Some(found)
            }
            (None, Some(of_the_system)) => Some(of_the_system.clone()),
            (None, None) => None,
        };
        Ok(Self {
            identity,
            authorities,
            certificates,
        })
    }

    /// The names of our own leaf.
    pub fn names(&self) -> &[String] {
        let leaf = self.certificates.first();
        leaf.filter(|leaf| leaf.part == Part::Chain)
            .map_or(&[], |leaf| &leaf.names)
    }
}

impl Certificate {
    /// Whether it is valid at this time since the UNIX epoch.
    ///
    /// # Errors
    /// It is not; a verb begins the line.
    pub fn check(&self, now: Duration) -> Result<(), String> {
        match self.validity {
            Some(Validity { not_after, .. }) if now > not_after => {
                Err(format!("has expired, on {}", date(not_after)))
            }
            Some(Validity { not_before, .. }) if now < not_before => {
                Err(format!("is not valid before {}", date(not_before)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn shown(path: &Path) -> impl std::fmt::Display {
    path.display()
}

fn certificates_of(part: Part, all: &[CertificateDer<'_>]) -> Vec<Certificate> {
    let all = all.iter().take(MOST_SHOWN).enumerate();
    all.map(|(index, certificate)| {
        let ClientCert { subject, names, .. } = ClientCert::of(certificate);
        Certificate {
            part,
            index,
            subject,
            names: if index == 0 { names } else { Vec::new() },
            validity: validity(certificate),
        }
    })
    .collect()
}

/// The certificates of a bundle, all of which are PEM, and one of which can be read.
fn authorities(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| format!("is not PEM, or is half-written: {error}"))?;
    if found.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(found.iter().cloned()) {
        (0, _) => Err("holds no certificate that can be read".to_owned()),
        (_, _) => Ok(found),
    }
}

/// A certificate chain with the key of its leaf, both PEM.
///
/// # Errors
/// They cannot be used, or do not belong together, in one line.
pub fn identity(
    certificates: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
    named: Named<'_>,
) -> Result<CertifiedKey, String> {
    let Named {
        certificate,
        key: key_name,
    } = named;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|error| format!("{certificate} is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{certificate} holds no certificate"));
    }
    if String::from_utf8_lossy(key).contains("ENCRYPTED") {
        return Err(format!(
            "{key_name} is encrypted: nobody is here to type its password"
        ));
    }
    let found = PrivateKeyDer::from_pem_slice(key);
    let key = found.map_err(|error| {
        if matches!(error, pem::Error::NoItemsFound) {
            return format!("{key_name} holds no private key");
        }
        format!("{key_name} is not the PEM of a private key: {error}")
    })?;
    // Whether it can be used is asked by itself, for a better word than rustls has.
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        format!("{key_name} is broken, or of a kind that is not supported ({KINDS} are)")
    })?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        // It is for the peer to understand: rustls reads none of version 1, as `openssl x509`
        // makes them.
        Err(_) if holds_its_key(&identity) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(format!(
                "{certificate} and {key_name} do not belong together: it is the key of another \
                 certificate"
            ));
        }
        Err(error) => return Err(format!("{certificate} and {key_name}: {error}")),
    }
    Ok(identity)
}

/// Whether the public key stands somewhere in the certificate, byte for byte.
fn holds_its_key(identity: &CertifiedKey) -> bool {
    let (Some(key), Ok(certificate)) = (identity.key.public_key(), identity.end_entity_cert())
    else {
        return false;
    };
    memchr::memmem::find(certificate, &key).is_some()
}

#[cfg(test)]
mod tests;
