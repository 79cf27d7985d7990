//! How a partner with webhooks stands: whether anything goes out to it, and whether what it sends is taken (d22). Pure.

use recado_kernel::word_enum;
use recado_webhooks::endpoints::{self, DisabledReason, Endpoint};
use utoipa::ToSchema;

use crate::kyc::KycStatus;
use crate::partners::{Partner, Status};

/// How a partner stands, as its clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = PartnerStanding, rename_all = "snake_case")]
pub enum Standing {
    Active,
    Inactive,
    Suspended,
    Deleted,
    /// Its webhook integration was revoked.
    Revoked,
    /// Its verification is awaited (`PARTNER_REQUIRE_KYC`).
    KycPending,
    /// Its endpoint answered 410.
    Gone,
    /// Its endpoint took nothing for days.
    Failing,
}

word_enum!(Standing, "how a partner stands");

impl Standing {
    /// As its own rows say, whatever became of its endpoint. `is_revoked`: its webhook integration.
    pub fn of(partner: &Partner, is_revoked: bool, policy: Policy) -> Self {
        match partner.status {
            Status::Deleted => Self::Deleted,
            Status::Suspended => Self::Suspended,
            Status::Inactive => Self::Inactive,
            Status::Active if is_revoked => Self::Revoked,
            Status::Active if policy.require_kyc && partner.kyc_status != KycStatus::Approved => Self::KycPending,
            Status::Active => Self::Active,
        }
    }

    /// The same, and how its endpoint fares.
    #[must_use]
    pub fn with_endpoint(self, endpoint: &Endpoint) -> Self {
        match (self, endpoint.status, endpoint.disabled_reason) {
            (Self::Active, endpoints::Status::Disabled, Some(DisabledReason::Gone)) => Self::Gone,
            (Self::Active, endpoints::Status::Disabled, Some(DisabledReason::Failing)) => Self::Failing,
            (standing, _, _) => standing,
        }
    }

    /// Whether webhooks go out to it.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }

    /// Whether what it sends is taken, when it is signed well. A partner whose endpoint fails, or whose verification is awaited,
    /// may still speak.
    pub fn may_send(self) -> bool {
        match self {
            Self::Active | Self::KycPending | Self::Gone | Self::Failing => true,
            Self::Inactive | Self::Suspended | Self::Deleted | Self::Revoked => false,
        }
    }
}

/// What the operator demands of partners.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// `PARTNER_REQUIRE_KYC`.
    pub require_kyc: bool,
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;
    use recado_kernel::ids::Id;

    use super::*;

    fn partner(status: Status, kyc_status: KycStatus) -> Partner {
        let now = Timestamp::default();
        Partner {
            id: Id::of_name("partner"),
            name: "FindyourWork".into(),
            email: None,
            contact_email: None,
            phone: None,
            address: None,
            status,
            kyc_status,
            partner_id: None,
            slug: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// d22: what stops a partner, and which directions.
    #[test]
    fn every_state_stops_what_it_should() {
        let (relaxed, strict) = (Policy::default(), Policy { require_kyc: true });
        let table = [
            (Status::Active, KycStatus::Pending, false, relaxed, Standing::Active, true, true),
            (Status::Active, KycStatus::Pending, false, strict, Standing::KycPending, false, true),
            (Status::Active, KycStatus::Approved, false, strict, Standing::Active, true, true),
            (Status::Active, KycStatus::Approved, true, relaxed, Standing::Revoked, false, false),
            (Status::Suspended, KycStatus::Approved, true, strict, Standing::Suspended, false, false),
            (Status::Inactive, KycStatus::Approved, false, relaxed, Standing::Inactive, false, false),
            (Status::Deleted, KycStatus::Approved, true, relaxed, Standing::Deleted, false, false),
        ];
        for (status, kyc, revoked, policy, expected, out, inwards) in table {
            let standing = Standing::of(&partner(status, kyc), revoked, policy);
            assert_eq!((standing, standing.is_active(), standing.may_send()), (expected, out, inwards), "{status}");
        }
    }
}
