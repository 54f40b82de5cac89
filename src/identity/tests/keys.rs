//! Key sets that somebody mixed up, and every algorithm with a key of its kind.

use super::*;

#[test]
fn key_sets_that_somebody_mixed_up_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let load = |set: Value| {
        let jwks_file = dir.path().join("set.json");
        std::fs::write(&jwks_file, set.to_string()).unwrap();
        let base = world();
        let algorithms = vec![Algorithm::EdDsa, Algorithm::Rs256];
        let settings = IssuerSettings { keys: KeySource::File(jwks_file), algorithms, ..base.identity.settings.issuers[0].clone() };
        settings.problems().pop()
    };
    let x = B64.encode([9; 32]);
    assert!(load(json!({"keys": []})).is_some());
    assert!(load(json!({"keys": [{"kty": "oct", "k": "AAAA"}]})).unwrap().contains("symmetric"));
    assert!(load(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "d": x}]})).unwrap().contains("private"));
    assert!(load(json!({"keys": [{"kty": "RSA", "n": B64.encode([255; 128]), "e": "AQAB"}]})).unwrap().contains("shorter"));
    // What nobody asked for is passed over: other kinds, other curves, keys to encrypt with.
    let more = json!([{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}, {"kty": "EC", "crv": "secp256k1"}, {"kty": "RSA", "use": "enc"}, {"kty": "OKP", "crv": "Ed25519", "x": x}]);
    assert_eq!(load(json!({ "keys": more })), None);
    assert!(
        load(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x}, {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x}]}))
            .unwrap()
            .contains("two keys")
    );
}

/// Tokens of every algorithm that an issuer's list may have, each with its own fresh key; and of every other one, refused.
#[test]
fn every_algorithm_of_the_list_is_checked_with_a_key_of_its_kind() {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, RsaKeyPair};
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let p256 = EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&sig::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (n, e) =
        (rsa.public_key().modulus().big_endian_without_leading_zero(), rsa.public_key().exponent().big_endian_without_leading_zero());
    let point = |key: &EcdsaKeyPair, curve: &str| {
        let point = key.public_key().as_ref().to_vec();
        let half = (point.len() - 1) / 2;
        json!({"kty": "EC", "crv": curve, "kid": curve, "x": B64.encode(&point[1..=half]), "y": B64.encode(&point[1 + half..])})
    };
    let set = json!({"keys": [{"kty": "RSA", "kid": "rsa", "n": B64.encode(n), "e": B64.encode(e)}, point(&p256, "P-256"), point(&p384, "P-384")]});
    let dir = tempfile::tempdir().unwrap();
    let jwks_file = dir.path().join("jwks.json");
    std::fs::write(&jwks_file, set.to_string()).unwrap();
    let sign = |alg: &str, message: &[u8]| -> Vec<u8> {
        let by_rsa = |padding: &'static dyn sig::RsaEncoding| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match alg {
            "RS256" => by_rsa(&sig::RSA_PKCS1_SHA256),
            "PS256" => by_rsa(&sig::RSA_PSS_SHA256),
            "ES256" => p256.sign(&random, message).unwrap().as_ref().to_vec(),
            _ => p384.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    };
    for (alg, kid) in [("RS256", "rsa"), ("PS256", "rsa"), ("ES256", "P-256"), ("ES384", "P-384")] {
        let listed = Algorithm::parse(alg).unwrap();
        let settings = |algorithms: Vec<Algorithm>| {
            let mut settings = world().identity.settings;
            settings.issuers[0].keys = KeySource::File(jwks_file.clone());
            settings.issuers[0].algorithms = algorithms;
            identity_of(settings, Clock::system()).unwrap_or_else(|problems| panic!("{problems:?}"))
        };
        let header = B64.encode(json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string());
        let message = format!("{header}.{}", B64.encode(claims().to_string()));
        let signature = sign(alg, message.as_bytes());
        let token = format!("{message}.{}", B64.encode(&signature));
        let mut broken = signature;
        broken[9] ^= 1;
        let identity = settings(vec![listed]);
        assert!(block_on(identity.agent(&headers(&token))).is_ok(), "{alg}");
        assert!(block_on(identity.agent(&headers(&format!("{message}.{}", B64.encode(broken))))).is_err(), "{alg} with a flipped bit");
        let others = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384].into_iter().filter(|other| *other != listed);
        assert!(block_on(settings(others.collect()).agent(&headers(&token))).is_err(), "{alg} where it is not listed");
    }
}
