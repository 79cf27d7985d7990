//! Which values of a configuration are secrets, and the configuration without them. Pure.
//!
//! Partners write whatever their integration needs, so it is the names that tell (`api_key`, `clientSecret`, `contraseña`),
//! and values that give themselves away (`Bearer …`, a URL with a password). What is taken for a secret and is none costs
//! nothing: it is kept all the same, and only not shown.

use serde_json::{Map, Value};
use url::Url;

/// What is shown in the place of a secret.
pub const MASK: &str = "********";

/// A name that holds one of these, without its separators, is that of a secret.
const SECRET_WORDS: [&str; 24] = [
    "apikey",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "contrasena",
    "contraseña",
    "clave",
    "llave",
    "token",
    "credential",
    "credencial",
    "privatekey",
    "accesskey",
    "authkey",
    "signingkey",
    "encryptionkey",
    "sharedkey",
    "masterkey",
    "authorization",
    "bearer",
    "cookie",
    "connectionstring",
];

/// Whole names that are too short to be looked for inside others.
const SECRET_NAMES: [&str; 7] = ["key", "pass", "auth", "pin", "jwt", "hmac", "sas"];

/// Names that end so speak of a secret and hold none: `token_url`, `token_type`, `token_expires_in`.
const HARMLESS_ENDINGS: [&str; 9] =
    ["url", "uri", "endpoint", "type", "algorithm", "ttl", "expiresin", "expires", "expiry"];

/// Values that begin so are secrets under any name.
const SECRET_BEGINNINGS: [&str; 7] = ["Bearer ", "Basic ", "whsec_", "whsk_", "sk_live_", "sk_test_", "-----BEGIN "];

/// `{"name": "X-Api-Key", "value": "…"}`: how lists of headers and parameters are written.
const NAME_FIELDS: [&str; 5] = ["name", "nombre", "header", "key", "clave"];
const VALUE_FIELDS: [&str; 2] = ["value", "valor"];

/// Takes the secrets out of a configuration: what is left may be shown, and each secret is named by its JSON pointer (RFC
/// 6901).
pub fn split(mut configuration: Value) -> (Value, Map<String, Value>) {
    let mut secrets = Map::new();
    take(&mut configuration, String::new(), false, &mut secrets);
    (configuration, secrets)
}

/// Puts secrets back to where [`split`] found them.
pub fn join(mut masked: Value, secrets: Map<String, Value>) -> Value {
    for (pointer, secret) in secrets {
        if let Some(place) = masked.pointer_mut(&pointer) {
            *place = secret;
        }
    }
    masked
}

/// What lies below a secret name is secret as a whole: `"credentials": {"user": …}`.
fn take(value: &mut Value, pointer: String, is_secret: bool, secrets: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            let pair = Pair::of(fields);
            for (name, field) in fields {
                let is_secret = is_secret || is_secret_field(name, pair);
                take(field, format!("{pointer}/{}", escape(name)), is_secret, secrets);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                take(item, format!("{pointer}/{number}"), is_secret, secrets);
            }
        }
        Value::String(text) if !text.is_empty() && (is_secret || gives_itself_away(text)) => {
            hide(value, pointer, secrets);
        }
        Value::Number(_) if is_secret => hide(value, pointer, secrets),
        // Whether there is one is no secret.
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

fn hide(value: &mut Value, pointer: String, secrets: &mut Map<String, Value>) {
    secrets.insert(pointer, std::mem::replace(value, MASK.into()));
}

/// An object that gives a name to a value.
#[derive(Clone, Copy)]
struct Pair {
    /// The field that holds the name, which is none itself.
    name_field: &'static str,
    names_secret: bool,
}

impl Pair {
    fn of(fields: &Map<String, Value>) -> Option<Self> {
        let name_field = NAME_FIELDS.into_iter().find(|field| fields.get(*field).is_some_and(Value::is_string))?;
        let has_value = VALUE_FIELDS.iter().any(|field| fields.contains_key(*field));
        let names_secret = fields[name_field].as_str().is_some_and(is_secret_name);
        has_value.then_some(Self { name_field, names_secret })
    }
}

fn is_secret_field(name: &str, pair: Option<Pair>) -> bool {
    match pair {
        Some(Pair { name_field, .. }) if name == name_field => false,
        Some(Pair { names_secret: true, .. }) if VALUE_FIELDS.contains(&name) => true,
        _ => is_secret_name(name),
    }
}

fn is_secret_name(name: &str) -> bool {
    let name: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let speaks_of_one = SECRET_WORDS.iter().any(|word| name.contains(word)) || SECRET_NAMES.contains(&name.as_str());
    speaks_of_one && !HARMLESS_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn gives_itself_away(text: &str) -> bool {
    let begins =
        |beginning: &&str| text.get(..beginning.len()).is_some_and(|head| head.eq_ignore_ascii_case(beginning));
    if SECRET_BEGINNINGS.iter().any(begins) {
        return true;
    }
    let Some(url) = text.contains("://").then(|| Url::parse(text).ok()).flatten() else { return false };
    url.password().is_some() || url.query_pairs().any(|(name, _)| is_secret_name(&name))
}

/// RFC 6901, section 3.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// S001-13: at every depth.
    #[test]
    fn secrets_are_taken_out_and_put_back() {
        let whole = json!({
            "endpoint": "https://api.partner.com/webhook",
            "api_key": "secret_key_here",
            "oauth": {"clientSecret": "cs", "token_url": "https://id.partner.com/token", "token_type": "Bearer", "scopes": ["a"]},
            "servers": [{"host": "db", "contraseña": "pw", "port": 5432}, {"PIN": 1234}],
            "credentials": {"user": "ana", "parts": ["x", 7, true, null, ""]},
            "headers": [{"name": "X-Api-Key", "value": "hk"}, {"name": "Accept", "value": "json"}],
            "pares": [{"clave": "token", "valor": 7}, {"name": "app", "key": "nk", "value": 1}, {"name": "token", "x": "open"}],
            "auth_header": "Bearer abc",
            "dsn": "postgres://ana:pw@db/x",
            "hook": "https://example.com/?access_token=abc",
            "a/b~c": {"secret": "odd name"},
            "events": ["payment.success"],
            "password": null,
        });
        let (shown, secrets) = split(whole.clone());
        assert_eq!(
            shown,
            json!({
                "endpoint": "https://api.partner.com/webhook",
                "api_key": MASK,
                "oauth": {"clientSecret": MASK, "token_url": "https://id.partner.com/token", "token_type": "Bearer", "scopes": ["a"]},
                "servers": [{"host": "db", "contraseña": MASK, "port": 5432}, {"PIN": MASK}],
                "credentials": {"user": MASK, "parts": [MASK, MASK, true, null, ""]},
                "headers": [{"name": "X-Api-Key", "value": MASK}, {"name": "Accept", "value": "json"}],
                "pares": [{"clave": "token", "valor": MASK}, {"name": "app", "key": MASK, "value": 1}, {"name": "token", "x": "open"}],
                "auth_header": MASK,
                "dsn": MASK,
                "hook": MASK,
                "a/b~c": {"secret": MASK},
                "events": ["payment.success"],
                "password": null,
            })
        );
        assert_eq!(secrets["/a~1b~0c/secret"], "odd name");
        assert_eq!(join(shown, secrets), whole);
    }

    #[test]
    fn names_are_told_apart() {
        for secret in [
            "apiKey",
            "API-KEY",
            "x-api-key",
            "client_secret",
            "db_password",
            "Contraseña",
            "clave_privada",
            "refreshToken",
            "key",
        ] {
            assert!(is_secret_name(secret), "{secret}");
        }
        for open in
            ["endpoint", "token_url", "tokenType", "keyboard", "monkey", "passenger", "author", "url", "events", ""]
        {
            assert!(!is_secret_name(open), "{open}");
        }
    }
}
