//! Where a channel's messages go over HTTP: an address that is judged each time it is used, since a secret's file may hold another by then.

use reqwest::Url;

use crate::credential::secret::Reference;
use crate::outbound::Reach;

/// An address as it is configured.
#[derive(Debug, Clone)]
pub enum Address {
    /// In the configuration itself.
    Plain(String),
    /// Whoever knows it can post as we do, so it is kept like a password.
    Secret(Reference),
}

/// Where to, and what the operator allows there.
#[derive(Debug, Clone)]
pub struct Place {
    /// The address.
    pub address: Address,
    /// It may be plain HTTP, to this machine.
    pub allow_http: bool,
    /// It may lie inside.
    pub allow_private: bool,
}

impl Place {
    /// The URL of an address, if it may be connected to, and how far the connection may go.
    ///
    /// # Errors
    /// Why not; the address is not in it.
    pub fn judge(&self, text: &str) -> Result<(Url, Reach), String> {
        let url = Url::parse(text).map_err(|error| format!("its URL cannot be read: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("its URL must not hold a user, a password or a fragment".to_owned());
        }
        let reach = match url.scheme() {
            "https" if self.allow_private => Reach::Anywhere,
            "https" => Reach::Public,
            "http" if self.allow_http => Reach::Loopback,
            _ => return Err("its URL must begin with https:// (http:// to this machine alone, with `allow_http = true`)".to_owned()),
        };
        if !reach.covers_host(&url) {
            return Err(match reach {
                Reach::Loopback => "plain HTTP goes to this machine alone".to_owned(),
                _ => "its URL leads to an address that is not public, which needs `allow_private = true`".to_owned(),
            });
        }
        Ok((url, reach))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_where_the_operator_allows() {
        let place = |allow_http, allow_private| Place { address: Address::Plain(String::new()), allow_http, allow_private };
        for (url, bare, http, private) in [
            ("https://hooks.example.com/x?y=z", true, true, true),
            ("http://hooks.example.com/x", false, false, false),
            ("http://127.0.0.1:8080/x", false, true, false),
            ("http://localhost:8080/x", false, true, false),
            ("http://[::ffff:127.0.0.1]/x", false, true, false),
            ("http://10.0.0.1/x", false, false, false),
            ("https://10.0.0.1/x", false, false, true),
            ("https://169.254.169.254/latest/", false, false, true),
            ("https://[64:ff9b::a9fe:a9fe]/", false, false, true),
            ("https://[::ffff:10.0.0.1]/", false, false, true),
            ("https://169.254.169.254./", false, false, true),
            ("https://hooks.example.com@169.254.169.254/", false, false, false),
            ("https://user:pass@hooks.example.com/", false, false, false),
            ("https://hooks.example.com/#x", false, false, false),
            ("file:///etc/passwd", false, false, false),
            ("", false, false, false),
        ] {
            let judged = [place(false, false), place(true, false), place(false, true)].map(|place| place.judge(url).is_ok());
            assert_eq!(judged, [bare, http, private], "{url}");
        }
        assert!(!place(false, false).judge("https://10.0.0.1/secret").unwrap_err().contains("secret"));
    }
}
