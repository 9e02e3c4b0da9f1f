//! Certificates of any sort, and files that hold them as a mounted Secret does.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// All of these have one name.
    pub fn new() -> Self {
        Self::named("an authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For this name, as DNS name or address and as common name.
    pub fn pair(&self, name: &str) -> Pair {
        self.pair_of(name, 2020, 2040)
    }

    /// Valid in these years.
    pub fn pair_of(&self, name: &str, from: i32, until: i32) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A client of another maker than ours: it trusts this authority, and shows `pair`.
    pub fn client(&self, pair: Option<&Pair>, protocol: &str) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match pair {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = pair.parsed();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }

    /// A server of another maker than ours: it asks for certificates of `clients`, and takes
    /// whatever `pair` is.
    pub fn server(pair: &Pair, clients: Option<&Self>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => config.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(clients.roots(), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let (chain, key) = pair.parsed();
        config.with_single_cert(chain, key).unwrap()
    }
}

impl Pair {
    fn parsed(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        (chain.map(Result::unwrap).collect(), key.unwrap())
    }
}

/// The files `ca.crt`, `tls.crt` and `tls.key`, mounted as the kubelet mounts a Secret: each is a
/// link into a directory that is a link itself, which is replaced in one step.
pub struct Secret {
    dir: TempDir,
    versions: u32,
}

impl Secret {
    pub fn new(authority: &Authority, pair: &Pair) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut secret = Self { dir, versions: 0 };
        secret.switch(&authority.pem(), &pair.certificate, &pair.key);
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), secret.at(name)).unwrap();
        }
        secret
    }

    /// Replaces all files in one step.
    pub fn switch(&mut self, authority: &str, certificate: &str, key: &str) {
        self.versions += 1;
        let version = format!("..{}", self.versions);
        fs::create_dir(self.at(&version)).unwrap();
        for (name, text) in [
            ("ca.crt", authority),
            ("tls.crt", certificate),
            ("tls.key", key),
        ] {
            fs::write(self.at(&version).join(name), text).unwrap();
        }
        symlink(&version, self.at("..new")).unwrap();
        fs::rename(self.at("..new"), self.at("..data")).unwrap();
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn certificate(&self) -> PathBuf {
        self.at("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.at("tls.key")
    }

    pub fn authority(&self) -> PathBuf {
        self.at("ca.crt")
    }

    /// As an argument of a command line.
    pub fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }
}
