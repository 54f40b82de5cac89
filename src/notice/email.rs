//! Mail by SMTP: plain text with a link to the page that decides. No link in it decides anything, since mail filters follow links.
//!
//! TLS is demanded, at once or by STARTTLS, unless the server is this machine; a server that offers none is not spoken to. The address that was judged is
//! the one that is connected to, and the certificate is checked for the configured name. The `Message-ID` is the notice's, so that a repetition shows.

use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;

use crate::credential::secret::Reference;
use crate::notice::Message;
use crate::notice::courier::{Courier, Undelivered};
use crate::outbound::Reach;

/// How mail is sent.
#[derive(Debug, Clone)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept secret.
    pub tls: Tls,
    /// It may lie inside.
    pub allow_private: bool,
    /// An authority to trust beside the public ones, PEM.
    pub ca: Option<Vec<u8>>,
    /// Who the broker is to the server.
    pub login: Option<(String, Reference)>,
    /// Who it says it is.
    pub from: Mailbox,
    /// To whom.
    pub to: Vec<Mailbox>,
}

/// How a connection is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From its first byte (port 465).
    Implicit,
    /// By STARTTLS, or not at all (port 587).
    StartTls,
    /// It is not: the server is this machine.
    Loopback,
}

/// The longest call in a mail, in characters.
const CALL_MAX: usize = 10_000;

impl Email {
    const fn reach(&self) -> Reach {
        match self.tls {
            Tls::Loopback => Reach::Loopback,
            _ if self.allow_private => Reach::Anywhere,
            _ => Reach::Public,
        }
    }

    /// Whether TLS can be set up as configured.
    ///
    /// # Errors
    /// The authority is none.
    pub fn check(&self) -> Result<(), String> {
        self.parameters().map(|_| ())
    }

    fn parameters(&self) -> Result<TlsParameters, String> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.ca {
            builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(|error| error.to_string())?);
        }
        builder.build().map_err(|error| error.to_string())
    }

    pub(super) async fn send(&self, courier: &Courier, message: &Message, patience: Duration) -> Result<String, Undelivered> {
        let mail = self.mail(message).map_err(|error| Undelivered::never(format!("the mail could not be written: {error}")))?;
        let servers = self.reach().resolve(&self.host, self.port).await.map_err(|error| Undelivered::later(error.to_string()))?;
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let parameters = || self.parameters().map_err(Undelivered::never);
        let at_once = if self.tls == Tls::Implicit { Some(parameters()?) } else { None };
        let failed =
            |error: lettre::transport::smtp::Error| Undelivered { is_final: error.is_permanent(), ..Undelivered::later(said(&error)) };
        let mut connection = AsyncSmtpConnection::connect_tokio1(&*servers, Some(patience), &hello, at_once, None).await.map_err(failed)?;
        if self.tls == Tls::StartTls {
            connection.starttls(parameters()?, &hello).await.map_err(failed)?;
        }
        if let Some((user, password)) = &self.login {
            let password = courier.secret(password).await?.expose_secret().to_owned();
            let login = Credentials::new(user.clone(), password);
            // What is wrong with a login is put right by the operator, and the mail waits for it.
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await.map_err(|error| Undelivered::later(said(&error)))?;
        }
        let answer = connection.send(mail.envelope(), &mail.formatted()).await.map_err(failed)?;
        drop(connection.quit().await);
        Ok(answer.code().to_string())
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let mut text = format!("{}\n\n", message.title);
        for (label, fact) in &message.facts {
            text.push_str(&format!("{label}: {fact}\n"));
        }
        let call = message.call(CALL_MAX);
        if !call.is_empty() {
            // Behind a mark, so that no line of it can be taken for one of ours.
            text.push_str("\nThe exact call:\n");
            call.lines().for_each(|line| text.push_str(&format!("  | {line}\n")));
        }
        text.push_str(&format!(
            "\nSign in to see all of it, and to decide:\n{}\n\nThis mail decides nothing; nor does opening the link.\n",
            message.url
        ));
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(message.title.clone())
            .date(SystemTime::from(message.now))
            .message_id(Some(format!("<{}@{}>", message.id, self.from.email.domain())))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(text)
    }
}

/// Why, in our words and the server's number: what else it says stays unsaid.
fn said(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the server answered {code}"),
        None if error.is_tls() => "there was no TLS with the server".to_owned(),
        None if error.is_client() => "the server does not offer what is needed (STARTTLS, a way to log in, or UTF-8)".to_owned(),
        None => "the server could not be reached".to_owned(),
    }
}

/// Mail by a machine, so that nobody's absence answers it (RFC 3834).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
