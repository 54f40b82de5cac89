//! Payloads: what a leaf commits to without holding it. Beside the log, encrypted a chunk at a time, erasable without breaking verification.
//!
//! commitment = SHA-256("payload/v1" ‖ salt ‖ plaintext). The salt lives with the payload's own key, wrapped by the store's key: erasing that row
//! makes the ciphertext unreadable and the commitment impossible to guess, and the leaf stays as it was.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ledger::keys::Keys;
use crate::ledger::{StoreError, salt};

/// Plaintext bytes of a chunk.
const CHUNK_BYTES: usize = 64 * 1024;
/// Plaintext bytes of a payload.
pub const PAYLOAD_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What a leaf says of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadRef {
    /// `request`, `result`, …
    pub role: &'static str,
    /// The retention class.
    pub class: &'static str,
    /// The commitment, hexadecimal; it is also the payload's name in the store.
    pub commit: String,
    /// Plaintext bytes.
    pub len: u64,
    /// SHA-256 of the ciphertext, hexadecimal: storage is scrubbed without keys.
    pub ct_sha256: String,
}

impl PayloadRef {
    /// As leaves have it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "role": self.role, "class": self.class, "commit": self.commit, "len": self.len, "ct_sha256": self.ct_sha256 })
    }
}

/// A payload, sealed and ready to be committed with the leaf that names it.
#[derive(Debug)]
pub struct SealedPayload {
    pub(super) reference: PayloadRef,
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) salt: [u8; 32],
    pub(super) wrapped: Vec<u8>,
    pub(super) kek: String,
}

impl SealedPayload {
    /// What the leaf says of it.
    #[must_use]
    pub fn reference(&self) -> PayloadRef {
        self.reference.clone()
    }
}

/// Takes a payload in chunks of any size.
pub struct PayloadWriter {
    role: &'static str,
    class: &'static str,
    salt: [u8; 32],
    wrapped: Vec<u8>,
    kek: String,
    key: LessSafeKey,
    commit: digest::Context,
    ciphertext: digest::Context,
    pending: Vec<u8>,
    chunks: Vec<Vec<u8>>,
    len: u64,
}

fn failed(what: &str) -> StoreError {
    StoreError(format!("failed to {what} a payload"))
}

/// A payload's key is used for that payload alone, so the chunk's number makes the nonce unique; the last byte of the head tells the last chunk.
fn nonce(sequence: usize, last: bool) -> Nonce {
    let mut bytes = [0_u8; NONCE_LEN];
    let number = (sequence as u64).to_be_bytes();
    for (to, from) in bytes.iter_mut().zip([u8::from(last), 0, 0, 0].into_iter().chain(number)) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

impl PayloadWriter {
    pub(super) fn new(keys: &Keys, role: &'static str, class: &'static str) -> Result<Self, StoreError> {
        let salt = salt()?;
        let dek = Zeroizing::new(crate::ledger::salt()?);
        let key = UnboundKey::new(&AES_256_GCM, &*dek).map_err(|_| failed("key"))?;
        let mut wrapped = dek.to_vec();
        let nonce_bytes = crate::id::random_128().map_err(|_| failed("key"))?;
        let nonce_bytes: [u8; NONCE_LEN] =
            nonce_bytes.get(..NONCE_LEN).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| failed("key"))?;
        keys.payload()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce_bytes), Aad::from(salt), &mut wrapped)
            .map_err(|_| failed("key"))?;
        wrapped.splice(0..0, nonce_bytes);
        let mut commit = digest::Context::new(&digest::SHA256);
        commit.update(b"payload/v1");
        commit.update(&salt);
        Ok(Self {
            role,
            class,
            salt,
            wrapped,
            kek: keys.ids().payload.clone(),
            key: LessSafeKey::new(key),
            commit,
            ciphertext: digest::Context::new(&digest::SHA256),
            pending: Vec::new(),
            chunks: Vec::new(),
            len: 0,
        })
    }

    /// Takes more plaintext.
    ///
    /// # Errors
    /// The payload would be larger than [`PAYLOAD_MAX_BYTES`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        if self.len > PAYLOAD_MAX_BYTES {
            return Err(StoreError(format!("a payload has at most {PAYLOAD_MAX_BYTES} bytes")));
        }
        self.commit.update(bytes);
        self.pending.extend_from_slice(bytes);
        // A full chunk stays pending until more comes: only then is it known not to be the last.
        while self.pending.len() > CHUNK_BYTES {
            let rest = self.pending.split_off(CHUNK_BYTES);
            let chunk = std::mem::replace(&mut self.pending, rest);
            self.seal(chunk, false)?;
        }
        Ok(())
    }

    fn seal(&mut self, mut chunk: Vec<u8>, last: bool) -> Result<(), StoreError> {
        self.key.seal_in_place_append_tag(nonce(self.chunks.len(), last), Aad::from(self.salt), &mut chunk).map_err(|_| failed("seal"))?;
        self.ciphertext.update(&chunk);
        self.chunks.push(chunk);
        Ok(())
    }

    /// Seals what is left.
    ///
    /// # Errors
    /// The cipher failed.
    pub fn finish(mut self) -> Result<SealedPayload, StoreError> {
        let rest = std::mem::take(&mut self.pending);
        self.seal(rest, true)?;
        let reference = PayloadRef {
            role: self.role,
            class: self.class,
            commit: hex::encode(self.commit.finish()),
            len: self.len,
            ct_sha256: hex::encode(self.ciphertext.finish()),
        };
        Ok(SealedPayload { reference, chunks: self.chunks, salt: self.salt, wrapped: self.wrapped, kek: self.kek })
    }
}

/// Why a stored payload does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The wrapped key does not open under this store's key.
    Key,
    /// The chunks do not open under the payload's key, or are not all there.
    Chunks,
    /// What they hold is not what the leaf commits to.
    Commitment,
}

/// Opens a stored payload and checks it against its commitment.
pub(super) fn open(keys: &Keys, commit: &str, salt: &[u8], wrapped: &[u8], chunks: Vec<Vec<u8>>) -> Result<Vec<u8>, Broken> {
    let salt: [u8; 32] = salt.try_into().map_err(|_| Broken::Key)?;
    let (nonce_bytes, body) = wrapped.split_at_checked(NONCE_LEN).ok_or(Broken::Key)?;
    let nonce_bytes: [u8; NONCE_LEN] = nonce_bytes.try_into().map_err(|_| Broken::Key)?;
    let mut body = Zeroizing::new(body.to_vec());
    let dek =
        keys.payload().open_in_place(Nonce::assume_unique_for_key(nonce_bytes), Aad::from(salt), &mut body).map_err(|_| Broken::Key)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, dek).map_err(|_| Broken::Key)?);
    let count = chunks.len();
    let mut plaintext = Vec::new();
    for (sequence, mut chunk) in chunks.into_iter().enumerate() {
        let opened = key.open_in_place(nonce(sequence, sequence + 1 == count), Aad::from(salt), &mut chunk).map_err(|_| Broken::Chunks)?;
        plaintext.extend_from_slice(opened);
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"payload/v1");
    context.update(&salt);
    context.update(&plaintext);
    if count > 0 && hex::encode(context.finish()) == commit { Ok(plaintext) } else { Err(Broken::Commitment) }
}
