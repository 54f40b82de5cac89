//! The protocol's handler: lists, calls, and streams of list changes. Everything that matters happens in the pipeline.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData, Implementation,
    ListToolsResult, MetaObject, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion, ServerCapabilities, ServerConfig,
    SubscriptionFilter,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::audit::Reply;
use crate::call::{Client, Line, Origin, Progress, Request};
use crate::identity::Delegation;
use crate::mcp::admission::StepUp;
use crate::mcp::cancels::Cancels;
use crate::mcp::elicit::States;
use crate::mcp::{Door, elicit, listing};
use crate::pipeline::Pipeline;
use crate::refusal::Code;

/// How long a client may keep the list of tools.
const LIST_TTL_MS: u64 = 60_000;
/// Progress messages that may wait for a slow client.
const PROGRESS_MAX: usize = 8;
/// The longest text that a client says of itself.
const SELF_REPORT_MAX: usize = 200;

/// Tells the model how approvals work; nothing else explains it to it.
const INSTRUCTIONS: &str = "Countersign runs your calls in the name of the human who delegated you, and keeps evidence of each. \
Call list_targets first, then db_search_objects and db_describe to learn a schema, then db_query. \
Personal data and secrets come back masked: work with ids instead. \
A call may need a human's approval and then answers status approval_pending: call approval_wait with the approval id, and when it says approved, repeat the exact same call. \
Never split or rephrase a call to avoid approval. A refusal says why and what to do; do not try other ways around it.";

/// The handler. Cheap to clone: the protocol layer makes one a request.
#[derive(Clone)]
pub(super) struct Handler {
    inner: Arc<Inner>,
}

struct Inner {
    pipeline: Arc<Pipeline>,
    draining: CancellationToken,
    cancels: Cancels,
    states: States,
    config: ServerConfig,
}

impl Handler {
    pub(super) fn new(door: &Door, cancels: Cancels, states: States) -> Self {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        let config = ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("countersign", env!("CARGO_PKG_VERSION")).with_title("Countersign"))
            .with_instructions(INSTRUCTIONS);
        Self { inner: Arc::new(Inner { pipeline: Arc::clone(&door.pipeline), draining: door.draining.clone(), cancels, states, config }) }
    }
}

/// What admission put into the request, or nothing is done at all.
fn admitted(context: &RequestContext<RoleServer>) -> Result<(Arc<Delegation>, StepUp), ErrorData> {
    let found = context.extensions.get::<http::request::Parts>().and_then(|parts| {
        let delegation = parts.extensions.get::<Arc<Delegation>>()?;
        let step_up = parts.extensions.get::<StepUp>()?;
        Some((Arc::clone(delegation), step_up.clone()))
    });
    found.ok_or_else(|| ErrorData::internal_error("the request was not admitted", None))
}

/// A text that a client says of itself: bounded, and without anything that would change how a log reads.
fn self_report(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SELF_REPORT_MAX).collect()
}

fn origin(context: &RequestContext<RoleServer>) -> Origin {
    let traceparent = context.meta.get_traceparent().map(self_report);
    let run = context.meta.0.get("countersign/run").and_then(Value::as_str).map(self_report);
    let trace_id = traceparent.as_deref().and_then(|trace| trace.split('-').nth(1)).map(ToOwned::to_owned);
    Origin {
        protocol_version: context.protocol_version().map(|version| self_report(version.as_str())),
        client: context.client_info().map(|client| Client { name: self_report(&client.name), version: self_report(&client.version) }),
        run: run.or(trace_id),
        traceparent,
    }
}

fn result(reply: &Reply) -> CallToolResult {
    answered(reply, reply.envelope().clone(), reply.is_error())
}

fn answered(reply: &Reply, envelope: Map<String, Value>, is_error: bool) -> CallToolResult {
    let structured = Value::Object(envelope);
    // The text is the very same JSON: masking one and leaking the other cannot happen.
    let content = vec![ContentBlock::text(structured.to_string())];
    let mut result = if is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = Some(structured);
    if let Value::Object(meta) = json!({ "countersign/receipt": reply.receipt() }) {
        result.meta = Some(MetaObject(meta));
    }
    result
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.inner.config.clone()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        const SPOKEN: &[ProtocolVersion] =
            &[ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];
        Cow::Borrowed(SPOKEN)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params("there is one page only: no cursor is valid", None));
        }
        let (delegation, _) = admitted(&context)?;
        let tools = self.inner.pipeline.list(&delegation).into_iter().map(listing::tool).collect();
        Ok(ListToolsResult::with_all_items(tools).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let (delegation, step_up) = admitted(&context)?;
        let shows_pages = elicit::can_be_asked(&context, &request);
        // Whose human declines to look at it does not want it any more.
        let sealed_to = elicit::call(&delegation, &request);
        let declined = self.inner.states.declined(&sealed_to, &request);
        let is_declined = declined.is_some();
        let (name, arguments) = match declined {
            Some(withdraw) => ("approval_withdraw".to_owned(), withdraw),
            None => (request.name.to_string(), request.arguments.unwrap_or_default()),
        };
        let gone = CancellationToken::new();
        let _hangs_up = gone.clone().drop_guard();
        let progress_token = context.meta.get_progress_token();
        let (progress, mut told) = mpsc::channel::<Progress>(PROGRESS_MAX);
        let progress = progress_token.is_some().then_some(progress);
        let under_way = self.inner.cancels.begin(&delegation, context.id.to_string());
        let cancelled = under_way.cancelled.clone();
        let line = Line { gone: gone.clone(), cancelled: cancelled.clone(), draining: self.inner.draining.clone(), progress, shows_pages };
        let call = Request::new(delegation, name.clone(), arguments, origin(&context), line);
        let _set_once = step_up.taken.set(());
        let running = self.inner.pipeline.run(call);
        tokio::pin!(running);
        let mut elapsed = 0.0;
        let outcome = loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                () = context.ct.cancelled(), if !gone.is_cancelled() => gone.cancel(),
                () = cancelled.cancelled(), if !gone.is_cancelled() => gone.cancel(),
                Some(progress) = told.recv(), if progress_token.is_some() => {
                    if let Some(token) = &progress_token {
                        // Progress must rise, also when two messages fall into one second.
                        elapsed = f64::max(elapsed + 0.001, progress.elapsed_s.to_string().parse().unwrap_or(elapsed));
                        let note = ProgressNotificationParam::new(token.clone(), elapsed).with_message(progress.message);
                        // A client that cannot hear it will see the answer.
                        drop(context.peer.notify_progress(note).await);
                    }
                }
            }
        };
        let reply = outcome.map_err(|unavailable| {
            let refusal = unavailable.refusal();
            tracing::error!(cause = refusal.private_cause(), "a call could not be recorded");
            ErrorData::internal_error(refusal.message(), Some(json!({ "code": refusal.code().as_str(), "hint": refusal.advice() })))
        })?;
        if reply.code() == Some(Code::UnknownTool) {
            return Err(ErrorData::new(ErrorCode::INVALID_PARAMS, format!("Unknown tool: {}", self_report(&name)), None));
        }
        if let Some(needed) = reply.needed() {
            let _set_once = step_up.needed.set(needed);
        }
        Ok(match self.inner.states.question(&sealed_to, &reply) {
            // Of the call that was declined, and not of the withdrawing: that would read as if the call had been made.
            _ if is_declined && !reply.is_error() => answered(&reply, elicit::withdrawn(&reply), true).into(),
            Some(question) => question.into(),
            None => result(&reply).into(),
        })
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        // Whatever else is asked for is not served here; the stream stays open all the same.
        let filter = SubscriptionFilter::builder();
        let wanted = requested.tools_list_changed.unwrap_or(false);
        Some(if wanted { filter.tools_list_changed() } else { filter }.build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        // Tools change with the configuration, and that with a restart: the stream only has to end well.
        tokio::select! {
            () = context.cancelled() => {}
            () = self.inner.draining.cancelled() => {}
        }
        Ok(())
    }
}
