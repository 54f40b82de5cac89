//! Signing by an agent: the key never comes here. An agent's socket is also how a PKCS#11 token signs (`ssh-add -s`).
//!
//! Two messages of the agent's protocol (draft-miller-ssh-agent): a request to sign, and its answer, bounded in size and time.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use russh::keys::ssh_key::certificate::Builder;
use russh::keys::ssh_key::{Signature, public::KeyData};
use russh::keys::{Certificate, PublicKey};

use crate::refusal::{Code, Refusal};

const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// The longest answer.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// How long an agent may take: a token may ask its owner to touch it.
const PATIENCE: Duration = Duration::from_secs(10);

struct Agent {
    socket: PathBuf,
    public: PublicKey,
}

/// Has an agent sign a certificate.
pub(super) async fn sign(builder: Builder, socket: PathBuf, public: PublicKey) -> Result<Certificate, Refusal> {
    let unavailable = |cause: String| Refusal::new(Code::CredentialUnavailable).cause(cause);
    let agent = Agent { socket, public };
    let signed = tokio::task::spawn_blocking(move || builder.sign(&agent)).await.map_err(|error| unavailable(error.to_string()))?;
    signed.map_err(|error| unavailable(format!("the agent that holds the authority's key did not sign: {error}")))
}

impl russh::keys::signature::Signer<Signature> for Agent {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, russh::keys::signature::Error> {
        self.ask(message).map_err(russh::keys::signature::Error::from_source)
    }
}

impl From<&Agent> for KeyData {
    fn from(agent: &Agent) -> Self {
        agent.public.key_data().clone()
    }
}

fn string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(bytes);
}

impl Agent {
    fn ask(&self, message: &[u8]) -> Result<Signature, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = vec![SIGN_REQUEST];
        string(&mut request, &self.public.to_bytes()?);
        string(&mut request, message);
        request.extend_from_slice(&0_u32.to_be_bytes());
        let mut framed = Vec::new();
        string(&mut framed, &request);
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.write_all(&framed)?;
        let mut length = [0_u8; 4];
        socket.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        if length > ANSWER_MAX_BYTES {
            return Err("its answer is too long".into());
        }
        let mut answer = vec![0_u8; length];
        socket.read_exact(&mut answer)?;
        // The type of the answer, the length of the signature, the signature.
        match answer.split_first_chunk::<5>() {
            Some(([SIGN_RESPONSE, _, _, _, _], signature)) => Ok(Signature::try_from(signature)?),
            _ => Err("it has no such key, or would not sign".into()),
        }
    }
}
