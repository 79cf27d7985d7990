//! VAPID keys for Web Push (RFC 8292), in the form that `npx web-push generate-vapid-keys` prints.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use serde::{Deserialize, Serialize};

use crate::output::{Outcome, print, print_json};

/// A pair of P-256 keys, base64url without padding: the point (65 bytes) and the scalar (32 bytes).
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VapidKeys {
    pub(crate) public_key: String,
    pub(crate) private_key: String,
}

impl VapidKeys {
    pub(crate) fn generate() -> Result<Self, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = EcKey::generate(&group)?;
        let mut context = BigNumContext::new()?;
        let point = key.public_key().to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context)?;
        // A scalar that happens to be small keeps its leading zeros.
        let scalar = key.private_key().to_vec_padded(32)?;
        Ok(Self { public_key: URL_SAFE_NO_PAD.encode(point), private_key: URL_SAFE_NO_PAD.encode(scalar) })
    }
}

/// `recado vapid-keys`
pub(crate) fn run(json: bool) -> Outcome {
    let keys = VapidKeys::generate()?;
    if json {
        print_json(&keys)?;
    } else {
        let VapidKeys { public_key, private_key } = keys;
        print(&format!("VAPID_PUBLIC_KEY={public_key}\nVAPID_PRIVATE_KEY={private_key}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_the_form_that_browsers_expect() {
        let keys = VapidKeys::generate().expect("OpenSSL knows P-256");
        let point = URL_SAFE_NO_PAD.decode(&keys.public_key).expect("base64url");
        let scalar = URL_SAFE_NO_PAD.decode(&keys.private_key).expect("base64url");
        assert_eq!((point.len(), point[0], scalar.len()), (65, 4, 32));
    }
}
