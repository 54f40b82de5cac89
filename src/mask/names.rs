//! Names as evidence: a column or key called `card_number` holds card numbers, whatever its values look like.
//!
//! Names are split into words (snake, camel, kebab), so that `passwordHash` is a password and `compass` is none. Words that turn the meaning
//! (`email_verified`, `token_count`) take the evidence back.

/// A built-in rule by name: its id, the words that must follow each other, and whether part of the value may be shown.
struct Evidence {
    id: &'static str,
    words: &'static [&'static [&'static str]],
    partial: bool,
}

const EVIDENCE: [Evidence; 9] = [
    Evidence {
        id: "secret",
        words: &[
            &["password"],
            &["passwd"],
            &["pwd"],
            &["passphrase"],
            &["secret"],
            &["token"],
            &["api", "key"],
            &["apikey"],
            &["access", "key"],
            &["private", "key"],
            &["credential"],
            &["credentials"],
            &["otp"],
            &["pin"],
            &["cvv"],
            &["cvc"],
            &["security", "answer"],
            &["session", "id"],
            &["connection", "string"],
            &["dsn"],
        ],
        partial: false,
    },
    Evidence {
        id: "ssn",
        words: &[&["ssn"], &["social", "security"], &["tax", "id"], &["national", "id"], &["passport"], &["sin"], &["nino"]],
        partial: false,
    },
    Evidence { id: "email", words: &[&["email"], &["e", "mail"], &["mail"], &["emailaddress"]], partial: true },
    Evidence {
        id: "phone",
        words: &[&["phone"], &["mobile"], &["telephone"], &["msisdn"], &["cell"], &["fax"], &["phonenumber"]],
        partial: true,
    },
    Evidence {
        id: "card",
        words: &[&["card", "number"], &["card", "no"], &["cardnumber"], &["credit", "card"], &["creditcard"], &["pan"], &["card"]],
        partial: true,
    },
    Evidence {
        id: "bank",
        words: &[&["iban"], &["account", "number"], &["routing", "number"], &["sort", "code"], &["bic"]],
        partial: true,
    },
    Evidence {
        id: "birth",
        words: &[&["dob"], &["birth", "date"], &["date", "of", "birth"], &["birthdate"], &["birthday"], &["birth", "day"]],
        partial: false,
    },
    Evidence {
        id: "address",
        words: &[&["street"], &["postal", "address"], &["home", "address"], &["address", "line"], &["address"]],
        partial: false,
    },
    Evidence { id: "salary", words: &[&["salary"], &["wage"], &["income"]], partial: false },
];

/// Words after which a name speaks about a value and does not hold it.
const TURNS: [&str; 24] = [
    "verified", "count", "type", "kind", "at", "status", "required", "enabled", "ttl", "expiry", "expires", "length", "policy", "valid",
    "sent", "opt", "brand", "network", "present", "format", "version", "id", "label", "template",
];

/// The words of a name, lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = ' ';
    for c in name.chars() {
        let breaks = c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        if (!c.is_alphanumeric() || breaks) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    // `emails` and `phone2` are e-mails and phones.
    for word in &mut words {
        let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
        *word = if bare.is_empty() { word.clone() } else { bare.to_owned() };
        if word.len() > 4 && word.ends_with('s') && !word.ends_with("ss") {
            word.pop();
        }
    }
    words
}

/// What a name says of its values: the rule's id, and whether part of a value may be shown.
pub(super) fn evidence(name: &str) -> Option<(&'static str, bool)> {
    let words = words(name);
    EVIDENCE.iter().find(|evidence| evidence.speaks(&words)).map(|evidence| (evidence.id, evidence.partial))
}

/// Whether these words of a name say that its values are secrets.
pub(super) fn is_secret(words: &[String]) -> bool {
    EVIDENCE.iter().any(|evidence| evidence.id == "secret" && evidence.speaks(words))
}

impl Evidence {
    fn speaks(&self, words: &[String]) -> bool {
        self.words.iter().any(|wanted| {
            words.windows(wanted.len()).enumerate().any(|(at, window)| {
                let same = window.iter().zip(*wanted).all(|(word, wanted)| {
                    word == wanted.strip_suffix('s').filter(|_| wanted.len() > 4 && !wanted.ends_with("ss")).unwrap_or(wanted)
                });
                let turned = || words.get(at + wanted.len()).is_some_and(|next| TURNS.contains(&next.as_str()));
                // `ip_address` and `mac_address` are where a machine lives.
                let machine = || {
                    *wanted == ["address"]
                        && at
                            .checked_sub(1)
                            .and_then(|before| words.get(before))
                            .is_some_and(|before| ["ip", "mac", "remote", "server", "email"].contains(&before.as_str()))
                };
                same && !turned() && !machine()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::evidence;

    #[test]
    fn names_and_what_they_say() {
        for (name, expected) in [
            ("email", Some("email")),
            ("E-Mail", Some("email")),
            ("customerEmail", Some("email")),
            ("contact_emails", Some("email")),
            ("email_verified", None),
            ("email_sent_at", None),
            ("password_hash", Some("secret")),
            ("compass", None),
            ("api_key", Some("secret")),
            ("apiKey", Some("secret")),
            ("key", None),
            ("token_count", None),
            ("tokens", Some("secret")),
            ("ssn", Some("ssn")),
            ("social_security_number", Some("ssn")),
            ("phone2", Some("phone")),
            ("card_number", Some("card")),
            ("card_type", None),
            ("company", None),
            ("date_of_birth", Some("birth")),
            ("dob", Some("birth")),
            ("ip_address", None),
            ("address", Some("address")),
            ("spin", None),
            ("panel", None),
            ("id", None),
            ("name", None),
            ("credentials", Some("secret")),
        ] {
            assert_eq!(evidence(name).map(|(id, _)| id), expected, "{name}");
        }
    }
}
