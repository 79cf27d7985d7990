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
        config.secret_key = Some(stored_in(&config.home.join("secret.key"))?);
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
            match make(file) {
                // Another process made it in this moment; both use that one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            stored_in(file)
        }
        Err(error) => Err(error),
    }
}

/// Makes the file with a new key in it, all at once: processes that start together must never see it empty.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is one by now, and whatever the file system says.
fn make(file: &Path) -> io::Result<()> {
    let mut bytes = [0_u8; 32];
    openssl::rand::rand_bytes(&mut bytes).map_err(io::Error::other)?;
    let key = URL_SAFE_NO_PAD.encode(bytes);
    let draft = file.with_extension(format!("{}.draft", hex::encode(&openssl::sha::sha256(&bytes)[..8])));
    let mut created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    // Unlike a rename, a link replaces no file that is there.
    let linked =
        created.write_all(key.as_bytes()).and_then(|()| created.sync_all()).and_then(|()| fs::hard_link(&draft, file));
    fs::remove_file(&draft)?;
    linked
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

    /// API, worker and scheduler start at once in a fresh folder.
    #[test]
    fn processes_that_start_together_have_one_key() {
        let folder = std::env::temp_dir().join(format!("recado-secrets-{}", std::process::id()));
        for _ in 0..20 {
            fs::create_dir_all(&folder).expect("a temporary folder");
            let file = folder.join("secret.key");
            let keys: Vec<String> = std::thread::scope(|scope| {
                let starting: Vec<_> = (0..8).map(|_| scope.spawn(|| stored_in(&file))).collect();
                let key =
                    |one: std::thread::ScopedJoinHandle<'_, io::Result<SecretString>>| one.join().expect("no panic");
                starting.into_iter().map(|one| key(one).expect("a key").expose_secret().to_owned()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]), "{} keys", keys.len());
            assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "no draft is left");
            fs::remove_dir_all(&folder).expect("removed");
        }
    }
}
