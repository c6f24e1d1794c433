//! Generates the certificates and tokens by which the API server and its users recognise each other.

use std::net::Ipv4Addr;

/// The address of the service by which pods reach the API server.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The certificates and keys as PEM texts.
pub(super) struct Certificates {
    pub(super) ca: String,
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) service_accounts: String,
    pub(super) service_accounts_public: String,
}

impl Certificates {
    /// Generates the certificates of a server at this address.
    pub(super) fn generate(address: Ipv4Addr) -> Result<Certificates, rcgen::Error> {
        use rcgen::{
            BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "rackpool test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let names = [address.to_string(), SERVICE.to_string(), "kubernetes.default.svc".to_string()];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &issuer)?.pem();
        let service_accounts = KeyPair::generate()?;
        Ok(Certificates {
            ca,
            cert,
            key: key.serialize_pem(),
            service_accounts: service_accounts.serialize_pem(),
            service_accounts_public: service_accounts.public_key_pem(),
        })
    }
}

/// A token of 128 random bits.
pub(super) fn random_token() -> Result<String, rcgen::Error> {
    // The bits come from the key generator: its random numbers are the only ones in this crate that are good
    // enough for secrets.
    let key = rcgen::KeyPair::generate()?;
    Ok(key.serialized_der().iter().rev().take(16).map(|byte| format!("{byte:02x}")).collect())
}
