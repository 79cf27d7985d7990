//! `SECRET_KEY` where none is set: made once, and stored in `RECADO_HOME`. Processes on one host share it; on several hosts it
//! has to be set.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::config::{Config, SHORTEST_SECRET_KEY};
use crate::db::private_folder;

/// Gives the configuration a key where it has none.
///
/// # Errors
/// When the file can be neither read nor made.
pub fn ensure(config: &mut Config) -> io::Result<()> {
    if config.secret_key.is_none() {
        private_folder(&config.home)?;
        let file = config.home.join("secret.key");
        config.secret_key = Some(match stored_in(&file) {
            // Another process made it in this moment.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => stored_in(&file)?,
            key => key?,
        });
    }
    Ok(())
}

/// The key stored in this file; a new one of 256 random bits when there is none. It has to last: what it sealed can be
/// read with no other key.
fn stored_in(file: &Path) -> io::Result<SecretString> {
    match fs::read_to_string(file) {
        Ok(key) if key.trim().len() >= SHORTEST_SECRET_KEY => Ok(key.trim().to_owned().into()),
        Ok(_) => {
            let remedy = "restore it, or delete it and write the secrets that it sealed again";
            Err(io::Error::other(format!("{} holds no secret key: {remedy}", file.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0_u8; 32];
            openssl::rand::rand_bytes(&mut bytes).map_err(io::Error::other)?;
            let key = URL_SAFE_NO_PAD.encode(bytes);
            let mut created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            created.write_all(key.as_bytes())?;
            Ok(key.into())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_stored_key_stays_the_same_and_only_its_owner_can_read_it() {
        let folder = std::env::temp_dir().join(format!("recado-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let file = folder.join("secret.key");
        let made = stored_in(&file).expect("made");
        assert_eq!(stored_in(&file).expect("read").expose_secret(), made.expose_secret());
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        fs::write(&file, "short").expect("written");
        assert!(stored_in(&file).expect_err("unusable").to_string().contains("delete it"));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
