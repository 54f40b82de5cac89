//! Strangers: requests that did not authenticate are counted, and an address that sends too many of them has to wait.
//!
//! An address may be a whole company's, so one broken client must not lock out the others: a token that was good a while ago still passes to its
//! door (which judges it all the same) when its address has to wait. Only what nobody here knows is turned away, before any signature is checked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use crate::identity::Asker;
use crate::limit::Limiter;
use crate::refusal::{Code, Refusal};
use crate::server::caller::Caller;
use crate::server::{Gate, refused};

/// Tokens that are remembered as good.
const KNOWN_MAX: usize = 10_000;
/// For how long.
const KNOWN_FOR: Duration = Duration::from_secs(15 * 60);

/// Who has failed how often, and who has not.
pub(super) struct Strangers {
    limiter: Option<Limiter<IpAddr>>,
    /// By SHA-256 of the Authorization header, or of a browser's cookies: until when it is remembered.
    known: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Strangers {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { limiter: Limiter::per_minute(per_minute), known: Mutex::default() }
    }

    fn remember(&self, token: [u8; 32], now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, until| *until > now);
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
        }
        known.insert(token, now + KNOWN_FOR);
    }

    fn forget(&self, token: &[u8; 32]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    fn knows(&self, token: &[u8; 32], now: Instant) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(token).is_some_and(|until| *until > now)
    }
}

/// What a request shows of itself.
fn presented(headers: &HeaderMap) -> Option<[u8; 32]> {
    let value = headers.get(header::AUTHORIZATION).or_else(|| headers.get(header::COOKIE))?;
    let mut token = [0; 32];
    for (to, from) in token.iter_mut().zip(digest::digest(&digest::SHA256, value.as_bytes()).as_ref()) {
        *to = *from;
    }
    Some(token)
}

/// Whoever hangs up before they are judged counts as a stranger: else nobody who does would ever be counted.
struct HungUp<'a> {
    gate: &'a Gate,
    block: IpAddr,
    is_judged: bool,
}

impl Drop for HungUp<'_> {
    fn drop(&mut self) {
        if let Some(limiter) = self.gate.strangers.limiter.as_ref().filter(|_| !self.is_judged) {
            let _overdrawn = limiter.take(self.block, Instant::now());
        }
    }
}

/// The layer around both doors.
pub(super) async fn watch(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Some(Caller { block }) = request.extensions().get::<Caller>().copied() else { return next.run(request).await };
    let strangers = &gate.strangers;
    let token = strangers.limiter.as_ref().and_then(|_| presented(request.headers()));
    // Who looks for where to get a token is no stranger yet.
    let is_public = request.uri().path().starts_with("/.well-known/");
    let now = Instant::now();
    if let Some(limiter) = strangers.limiter.as_ref().filter(|_| !is_public)
        && let Err(wait) = limiter.check(&block, now)
        && !token.is_some_and(|token| strangers.knows(&token, now))
    {
        let refusal = Refusal::new(Code::TooManyRequests);
        gate.failures.count(&refusal, block);
        let mut response = refused(StatusCode::TOO_MANY_REQUESTS, &refusal);
        response.headers_mut().insert(header::RETRY_AFTER, wait.seconds().into());
        return response;
    }
    let mut hung_up = HungUp { gate: &gate, block, is_judged: is_public || token.is_some_and(|token| strangers.knows(&token, now)) };
    let response = next.run(request).await;
    hung_up.is_judged = true;
    match (response.extensions().get::<Asker>(), token) {
        (Some(Asker::Known), Some(token)) => strangers.remember(token, now),
        (Some(Asker::Unknown(refusal)), token) => {
            gate.failures.count(refusal, block);
            if let Some(limiter) = &strangers.limiter {
                // Several at once may overdraw it: the next one waits all the same.
                let _overdrawn = limiter.take(block, now);
            }
            if let Some(token) = token {
                strangers.forget(&token);
            }
        }
        (Some(Asker::Limited), _) => gate.failures.count(&Refusal::new(Code::TooManyRequests), block),
        _ => {}
    }
    response
}
