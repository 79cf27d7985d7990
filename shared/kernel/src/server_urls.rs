//! Where the database and Redis are: URLs as people who come from elsewhere write them.
//!
//! A URL is understood or refused with what to write instead, never used as something else. No error repeats a part of it,
//! because it holds a password.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// Why a URL is not used. Each says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("begin with postgresql:// or sqlite://; no other database is supported")]
    NoDatabase,
    #[error(
        "this is not a URL such as postgresql://user:password@host:5432/name; in the password write % as %25, and # / ? : @ [ ] \
         as %23 %2F %3F %3A %40 %5B %5D"
    )]
    NotPostgres,
    #[error("name one host only")]
    ManyHosts,
    #[error("an option `ssl` is not known to PostgreSQL; write ?sslmode=require, or verify-full with sslrootcert")]
    NotSslMode,
    #[error("behind the ? there is an option that PostgreSQL's URLs do not have; leave it out")]
    PostgresOption,
    #[error(
        "a database in memory would be gone, with what it had accepted, when the process ends; name a file: sqlite:////data/recado.db"
    )]
    InMemory,
    #[error("name a file and not a folder: sqlite:////data/recado.db, or sqlite:///recado.db in the working folder")]
    NotAFile,
    #[error("~ is not understood; write the whole path, with four slashes: sqlite:////home/recado/recado.db")]
    Home,
    #[error(
        "behind the ? there is an option that is not supported; leave it out: the file is made, opened for writing, and kept"
    )]
    SqliteOption,
    #[error("begin with redis://, rediss:// for TLS, or unix:// for a socket")]
    NoRedis,
    #[error(
        "this is not a URL such as redis://:password@host:6379/0; in the password write % as %25, and # / ? : @ [ ] as %23 %2F \
         %3F %3A %40 %5B %5D"
    )]
    NotRedis,
    #[error("behind the last / stands the number of a database, as in redis://host:6379/0")]
    RedisDatabase,
    #[error("certificates are always checked; leave ssl_cert_reqs out, and name the authority in REDIS_SSL_CAFILE")]
    Unchecked,
    #[error("behind the ? there is an option that is not supported; leave it out")]
    RedisOption,
}

/// Which database, and where.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// The embedded one: its file.
    Sqlite(PathBuf),
    /// As sqlx reads it.
    Postgres(SecretString),
}

/// What libpq and poolers read in a URL, and what means nothing to sqlx. What changes where the tables are, or how safe the
/// connection is, does not stand here.
const WITHOUT_MEANING: [&str; 18] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "pgbouncer",
    "prepared_statements",
    "sslcompression",
    "sslnegotiation",
    "sslsni",
    "supa",
    "target_session_attrs",
    "tcp_user_timeout",
];

const SQLX_OPTIONS: [&str; 17] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

impl DatabaseUrl {
    /// Reads the URL of a database, in the spellings of sqlx, SQLAlchemy (`postgresql+psycopg://`, `sqlite+pysqlite:///`) and
    /// dj-database-url (`postgres://`, `postgis://`, `sqlite:///`). `exists` says what is on the disk.
    pub(crate) fn parse(text: &str, exists: impl Fn(&Path) -> bool) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(UrlError::NoDatabase)?;
        let scheme = scheme.to_ascii_lowercase();
        let (engine, driver) = scheme.split_once('+').unwrap_or((&scheme, ""));
        match (engine, driver) {
            ("postgresql" | "postgres" | "postgis" | "pgsql" | "psql", _) => postgres(rest).map(Self::Postgres),
            ("sqlite" | "sqlite3", "" | "pysqlite" | "aiosqlite") => sqlite(rest, exists).map(Self::Sqlite),
            _ => Err(UrlError::NoDatabase),
        }
    }

    /// For a person: the file, or the URL without its password.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(file) => file.display().to_string(),
            Self::Postgres(url) => without_password(url.expose_secret()),
        }
    }
}

/// A URL without its password; any other text as it is.
pub fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    let is_secret = |name: &str| matches!(name, "password" | "pass");
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let shown = |(name, value): (String, String)| {
            let value = if is_secret(&name) { "********".to_owned() } else { value };
            (name, value)
        };
        url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(shown));
    } else if url.password().is_none() {
        return text.to_owned();
    }
    if url.password().is_some() {
        let _ = url.set_password(Some("********"));
    }
    url.into()
}

fn postgres(rest: &str) -> Result<SecretString, UrlError> {
    let mut url = Url::parse(&format!("postgresql:{rest}")).map_err(|_| UrlError::NotPostgres)?;
    if !rest.starts_with("//") || url.fragment().is_some() {
        return Err(UrlError::NotPostgres);
    }
    if url.host_str().is_some_and(|host| host.contains([',', '%'])) {
        return Err(UrlError::ManyHosts);
    }
    let options: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let is_known = |name: &str| SQLX_OPTIONS.contains(&name) || name.starts_with("options[");
    if options.iter().any(|(name, _)| name == "ssl") {
        return Err(UrlError::NotSslMode);
    }
    if !options.iter().all(|(name, _)| is_known(name) || WITHOUT_MEANING.contains(&name.as_str())) {
        return Err(UrlError::PostgresOption);
    }
    // sqlx would write what it does not know into the log.
    if options.iter().any(|(name, _)| !is_known(name)) {
        url.query_pairs_mut().clear().extend_pairs(options.iter().filter(|(name, _)| is_known(name)));
    }
    PgConnectOptions::from_str(url.as_str()).map_err(|_| UrlError::NotPostgres)?;
    Ok(String::from(url).into())
}

/// The file that is meant by what stands behind `sqlite:`.
///
/// Four slashes are a path from the root, as SQLAlchemy and dj-database-url have it; so is one. Two, and none, are a path from
/// the working folder. Three are that too in those two, and a path from the root in sqlx. So the file that exists is meant, else
/// the folder that exists, and a path from the working folder first.
fn sqlite(rest: &str, exists: impl Fn(&Path) -> bool) -> Result<PathBuf, UrlError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_harmless = |(name, value): (&str, &str)| match name {
        "mode" => value == "rwc",
        "cache" => value == "private",
        // Python's driver has it.
        "check_same_thread" => true,
        _ => false,
    };
    let options = url::form_urlencoded::parse(query.as_bytes());
    let options: Vec<_> = options.collect();
    if options.iter().any(|(name, value)| (name == "mode" && value == "memory") || value == ":memory:") {
        return Err(UrlError::InMemory);
    }
    if !options.iter().all(|(name, value)| is_harmless((name, value))) {
        return Err(UrlError::SqliteOption);
    }
    let path = percent_decoded(path).ok_or(UrlError::NotAFile)?;
    let slashes = path.len() - path.trim_start_matches('/').len();
    let name = &path[slashes..];
    if name.is_empty() && slashes <= 3 || name.starts_with(":memory:") {
        return Err(UrlError::InMemory);
    }
    if name.starts_with('~') {
        return Err(UrlError::Home);
    }
    if name.is_empty() || name.ends_with('/') || name.ends_with("/.") || name == "." || name.contains('\0') {
        return Err(UrlError::NotAFile);
    }
    let (here, from_root) = (PathBuf::from(name), Path::new("/").join(name));
    Ok(match slashes {
        0 | 2 => here,
        3 => {
            let folder_exists =
                |file: &Path| file.parent().is_some_and(|folder| folder != Path::new("/") && exists(folder));
            let is_here = name.find('/').is_none() || folder_exists(&here);
            let is_from_root = exists(&from_root) || !is_here && folder_exists(&from_root);
            if is_from_root && !exists(&here) { from_root } else { here }
        }
        _ => from_root,
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match after {
            [high, low, ..] if *first == b'%' => hex::decode([*high, *low]).ok(),
            _ => None,
        };
        bytes.push(code.as_ref().map_or(*first, |code| code[0]));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// Where Redis is.
#[derive(Clone, Debug)]
pub(crate) struct RedisUrl {
    /// As the crate redis reads it.
    pub(crate) url: SecretString,
    /// Its certificate is signed by an authority in this PEM file.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) is_encrypted: bool,
}

impl FromStr for RedisUrl {
    type Err = UrlError;

    /// Reads the URL of Redis, with the options by which Celery and redis-py say how it is encrypted.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let has_scheme = text.split_once("://").is_some_and(|(scheme, _)| {
            let known = ["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"];
            known.contains(&scheme.to_ascii_lowercase().as_str())
        });
        if !has_scheme {
            return Err(UrlError::NoRedis);
        }
        let mut url = Url::parse(text).map_err(|_| UrlError::NotRedis)?;
        let is_encrypted = matches!(url.scheme(), "rediss" | "valkeys");
        let is_socket = url.scheme().ends_with("unix");
        if !is_socket && url.host_str().is_none_or(|host| host.is_empty() || host.contains(',')) {
            return Err(UrlError::NotRedis);
        }
        if url.fragment().is_some_and(|fragment| !is_encrypted || fragment != "insecure") {
            return Err(UrlError::NotRedis);
        }
        let database = url.path().trim_matches('/');
        if !is_socket && !database.is_empty() && database.parse::<u32>().is_err() {
            return Err(UrlError::RedisDatabase);
        }
        let mut ca_file = None;
        let mut kept = Vec::new();
        for (name, value) in url.query_pairs() {
            match &*name {
                "protocol" => kept.push((name.into_owned(), value.into_owned())),
                "db" | "user" | "pass" if is_socket => kept.push((name.into_owned(), value.into_owned())),
                "ssl_cert_reqs" if matches!(&*value.to_ascii_lowercase(), "required" | "cert_required") => {}
                "ssl_check_hostname" if value.eq_ignore_ascii_case("true") => {}
                "ssl_cert_reqs" | "ssl_check_hostname" => return Err(UrlError::Unchecked),
                "ssl_ca_certs" if is_encrypted => ca_file = Some(PathBuf::from(value.as_ref())),
                _ => return Err(UrlError::RedisOption),
            }
        }
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        Ok(Self { url: String::from(url).into(), ca_file, is_encrypted })
    }
}

/// What stands before PostgreSQL: `DATABASE_POOLER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Pooler {
    /// To be found out.
    #[default]
    Auto,
    /// Every transaction may meet another server connection.
    Transaction,
    /// A connection keeps its server: a pooler of sessions, or none.
    Session,
}

crate::word_enum!(Pooler, "a pooler");

#[cfg(test)]
mod tests {
    use super::*;

    fn database(text: &str, on_disk: &[&str]) -> Result<String, UrlError> {
        match DatabaseUrl::parse(text, |path| on_disk.contains(&path.to_str().unwrap_or_default()))? {
            DatabaseUrl::Sqlite(file) => Ok(file.display().to_string()),
            DatabaseUrl::Postgres(url) => Ok(url.expose_secret().to_owned()),
        }
    }

    /// `sqlite:////srv/a/x.db` made ./srv/a/x.db, and a query was part of the file's name (pydough-ce#17, superfly/docs#2000,
    /// encode/databases#122).
    #[test]
    fn files_are_found_where_others_find_them() {
        let cases = [
            // SQLAlchemy and dj-database-url.
            ("sqlite:////data/x.db", "/data/x.db"),
            ("sqlite:///x.db", "x.db"),
            ("sqlite:///data/x.db", "data/x.db"),
            ("sqlite+pysqlite:////data/x.db", "/data/x.db"),
            ("sqlite+aiosqlite:///x.db", "x.db"),
            ("sqlite:///./x.db", "./x.db"),
            ("sqlite:///../x.db", "../x.db"),
            ("sqlite:////data/x.db?check_same_thread=False", "/data/x.db"),
            // sqlx.
            ("sqlite:x.db", "x.db"),
            ("sqlite:/data/x.db", "/data/x.db"),
            ("sqlite://q.db?mode=rwc", "q.db"),
            ("sqlite://.recado/recado.db", ".recado/recado.db"),
            // Others.
            ("SQLite3:////data/x.db", "/data/x.db"),
            ("sqlite://///data/x.db", "/data/x.db"),
            ("sqlite:////data/mi%20taller.db", "/data/mi taller.db"),
            ("sqlite:////data/ñ#1%.db", "/data/ñ#1%.db"),
        ];
        for (text, expected) in cases {
            assert_eq!(database(text, &[]).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn three_slashes_lead_to_what_exists() {
        let three = "sqlite:///srv/x.db";
        assert_eq!(database(three, &["/srv"]).as_deref(), Ok("/srv/x.db"));
        assert_eq!(database(three, &["srv", "/srv"]).as_deref(), Ok("srv/x.db"));
        assert_eq!(database(three, &["srv", "/srv", "/srv/x.db"]).as_deref(), Ok("/srv/x.db"));
        assert_eq!(database(three, &["srv", "/srv", "srv/x.db", "/srv/x.db"]).as_deref(), Ok("srv/x.db"));
        // No one keeps a database in the root folder.
        assert_eq!(database("sqlite:///x.db", &["/"]).as_deref(), Ok("x.db"));
        assert_eq!(database("sqlite:///x.db", &["/", "/x.db"]).as_deref(), Ok("/x.db"));
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let cases = [
            ("sqlite::memory:", UrlError::InMemory),
            ("sqlite://:memory:", UrlError::InMemory),
            ("sqlite:///:memory:", UrlError::InMemory),
            ("sqlite://", UrlError::InMemory),
            ("sqlite:///", UrlError::InMemory),
            ("sqlite:///x.db?mode=memory", UrlError::InMemory),
            ("sqlite:///x.db?mode=ro", UrlError::SqliteOption),
            ("sqlite:///x.db?vfs=unix-none", UrlError::SqliteOption),
            ("sqlite:////", UrlError::NotAFile),
            ("sqlite:////data/", UrlError::NotAFile),
            ("sqlite:///.", UrlError::NotAFile),
            ("sqlite://~/x.db", UrlError::Home),
            ("sqlite+pysqlcipher://:key@/x.db", UrlError::NoDatabase),
            ("file:x.db", UrlError::NoDatabase),
            ("/data/x.db", UrlError::NoDatabase),
            ("x.db", UrlError::NoDatabase),
            ("mysql://u:p@127.0.0.1:5432/d", UrlError::NoDatabase),
            ("mysql+pymysql://u:p@h/d", UrlError::NoDatabase),
            ("jdbc:postgresql://h/d", UrlError::NoDatabase),
            ("\"postgresql://h/d\"", UrlError::NoDatabase),
            ("postgresql:h/d", UrlError::NotPostgres),
            ("postgresql://u:pa#ss@h/d", UrlError::NotPostgres),
            ("postgresql://u:pa/ss@h/d", UrlError::NotPostgres),
            ("postgresql://h:port/d", UrlError::NotPostgres),
            ("postgresql://h/d?sslmode=yes", UrlError::NotPostgres),
            ("postgresql://h1,h2/d", UrlError::ManyHosts),
            ("postgresql+asyncpg://h/d?ssl=require", UrlError::NotSslMode),
            ("postgresql://h/d?schema=other", UrlError::PostgresOption),
        ];
        for (text, expected) in cases {
            assert_eq!(database(text, &[]), Err(expected), "{text}");
        }
    }

    #[test]
    fn postgres_has_many_schemes_and_options() {
        let cases = [
            ("postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
            ("postgres://u:p%23@h/d", "postgresql://u:p%23@h/d"),
            ("PostgreSQL+psycopg2://u@h/d", "postgresql://u@h/d"),
            ("postgis://u@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require"),
            ("postgresql:///d?host=/var/run/postgresql", "postgresql:///d?host=/var/run/postgresql"),
            (
                "postgresql://u@h/d?sslmode=require&channel_binding=require&pgbouncer=true",
                "postgresql://u@h/d?sslmode=require",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(database(text, &[]).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn redis_is_encrypted_as_its_url_says() {
        let parse = |text: &str| {
            let RedisUrl { url, ca_file, is_encrypted } = text.parse()?;
            let ca_file = ca_file.map(|file| file.display().to_string()).unwrap_or_default();
            Ok::<_, UrlError>((url.expose_secret().to_owned(), ca_file, is_encrypted))
        };
        let good = [
            ("redis://:p%23@h:6379/3", "redis://:p%23@h:6379/3", "", false),
            ("redis://h", "redis://h", "", false),
            ("redis://[::1]:6379/0?protocol=resp3", "redis://[::1]:6379/0?protocol=resp3", "", false),
            ("rediss://h/0?ssl_cert_reqs=required", "rediss://h/0", "", true),
            ("rediss://h/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/etc/ca.pem", "rediss://h/0", "/etc/ca.pem", true),
            ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2", "", false),
        ];
        for (text, url, ca_file, is_encrypted) in good {
            assert_eq!(parse(text), Ok((url.to_owned(), ca_file.to_owned(), is_encrypted)), "{text}");
        }
        let wrong = [
            ("h:6379", UrlError::NoRedis),
            ("http://h:6379", UrlError::NoRedis),
            ("sentinel://h:26379", UrlError::NoRedis),
            ("redis://", UrlError::NotRedis),
            ("redis://:pa#ss@h:6379/0", UrlError::NotRedis),
            ("redis://h1,h2/0", UrlError::NotRedis),
            ("redis://h:6379/zero", UrlError::RedisDatabase),
            ("redis://h:6379/0;redis://h2:6379/0", UrlError::RedisDatabase),
            ("rediss://h/0?ssl_cert_reqs=none", UrlError::Unchecked),
            ("rediss://h/0?ssl_cert_reqs=CERT_NONE", UrlError::Unchecked),
            ("rediss://h/0?ssl_check_hostname=false", UrlError::Unchecked),
            ("redis://h/0?ssl_ca_certs=/etc/ca.pem", UrlError::RedisOption),
            ("redis://h/?db=1", UrlError::RedisOption),
        ];
        for (text, expected) in wrong {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let cases = [
            ("postgresql://u:hunter2@h:5432/d", "postgresql://u:********@h:5432/d"),
            ("postgresql://h/d?user=u&password=hunter2", "postgresql://h/d?user=u&password=********"),
            ("redis://:hunter2@h/0", "redis://:********@h/0"),
            ("unix:///run/redis.sock?pass=hunter2", "unix:///run/redis.sock?pass=********"),
            ("postgresql://h/d", "postgresql://h/d"),
            ("no URL", "no URL"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_password(text), expected, "{text}");
        }
    }
}
