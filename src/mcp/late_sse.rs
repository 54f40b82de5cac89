//! Late streaming: an answer that takes long turns into an event stream, so that nobody between here and the agent gives up on silence.
//!
//! The protocol layer sends no byte before its first message, and proxies and clients cut a silent connection at a minute. After five seconds the
//! status is committed as a stream, a comment goes out every ten, and the answer follows as one event. Dropping the client drops the inner call.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{HeaderValue, header};
use http_body_util::BodyExt;

use crate::limit::HoldsPlace;
use crate::mcp::admission::IsCall;

/// Quick answers come as they are.
const QUICK: Duration = Duration::from_secs(5);
/// A sign of life this often.
const WAIT_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn late_sse(request: Request, next: Next) -> Response {
    if !request.extensions().get::<IsCall>().is_some_and(|call| call.0) {
        return next.run(request).await;
    }
    let mut inner: BoxFuture<'static, Response> = Box::pin(next.run(request));
    match tokio::time::timeout(QUICK, &mut inner).await {
        // The protocol layer streams where it reports progress: its call still runs as well.
        Ok(mut response) => {
            if is_stream(&response) {
                response.extensions_mut().insert(HoldsPlace);
            }
            response
        }
        Err(_) => stream(inner),
    }
}

enum Step {
    Waiting(BoxFuture<'static, Response>),
    Piping(Body),
    Over,
}

fn stream(inner: BoxFuture<'static, Response>) -> Response {
    let events = futures::stream::unfold(Step::Waiting(inner), |step| async move {
        match step {
            Step::Waiting(mut inner) => match tokio::time::timeout(WAIT_EVERY, &mut inner).await {
                Err(_) => Some((Bytes::from_static(b": wait\n\n"), Step::Waiting(inner))),
                Ok(response) => Some(opened(response).await),
            },
            Step::Piping(mut body) => match tokio::time::timeout(WAIT_EVERY, body.frame()).await {
                Err(_) => Some((Bytes::from_static(b": wait\n\n"), Step::Piping(body))),
                Ok(Some(Ok(frame))) => Some((frame.into_data().unwrap_or_default(), Step::Piping(body))),
                Ok(Some(Err(_)) | None) => None,
            },
            Step::Over => None,
        }
    });
    let opening = futures::stream::iter([Bytes::from_static(b": wait\n\n")]);
    let mut response = Response::new(Body::from_stream(opening.chain(events).map(Ok::<_, Infallible>)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response.extensions_mut().insert(HoldsPlace);
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub(super) fn is_stream(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The inner answer: a stream is piped on, anything else becomes one event.
async fn opened(response: Response) -> (Bytes, Step) {
    let streams = is_stream(&response);
    let body = response.into_body();
    if streams {
        return (Bytes::from_static(b": wait\n\n"), Step::Piping(body));
    }
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    // JSON has no line break outside of strings, and within them it is escaped; whatever else came is made one line.
    let mut event = b"event: message\ndata: ".to_vec();
    event.extend(bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    event.extend_from_slice(b"\n\n");
    (Bytes::from(event), Step::Over)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use tower::ServiceExt;

    use super::*;

    fn app(takes: Duration, dropped: Arc<AtomicBool>) -> Router {
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let handler = move || {
            let guard = Guard(Arc::clone(&dropped));
            async move {
                tokio::time::sleep(takes).await;
                drop(guard);
                ([(header::CONTENT_TYPE, "application/json")], "{\"a\":\n1}")
            }
        };
        Router::new().route("/", post(handler)).layer(from_fn(late_sse))
    }

    fn call() -> Request {
        let mut request = Request::post("/").body(Body::empty()).unwrap();
        request.extensions_mut().insert(IsCall(true));
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_answer_is_untouched() {
        let response = app(Duration::from_secs(1), Arc::default()).oneshot(call()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_becomes_one_event_after_signs_of_life() {
        let response = app(Duration::from_secs(31), Arc::default()).oneshot(call()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert_eq!(text, ": wait\n\n: wait\n\n: wait\n\nevent: message\ndata: {\"a\": 1}\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_drops_the_call() {
        let dropped = Arc::new(AtomicBool::new(false));
        let response = app(Duration::from_secs(600), Arc::clone(&dropped)).oneshot(call()).await.unwrap();
        assert!(!dropped.load(Ordering::SeqCst));
        drop(response);
        assert!(dropped.load(Ordering::SeqCst));
    }
}
