//! Identifiers: UUIDv7, made by us from our clock, never by the database.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type as SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::clock::Timestamp;

/// The identifier of a row: a UUIDv7, so that ids sort by the time of creation and insert at the end of an index.
///
/// It is a `uuid` on PostgreSQL and hyphenated text on SQLite, where an operator reads it in the shell.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Uuid);

impl Id {
    /// A new id that sorts after the ids of earlier times.
    pub fn new(now: Timestamp) -> Self {
        let micros = now.as_micros();
        let seconds = u64::try_from(micros.div_euclid(1_000_000)).unwrap_or_default();
        let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    /// Sorts before every id that [`Id::new`] made at this time or later.
    pub fn earliest(at: Timestamp) -> Self {
        let millis = u64::try_from(at.as_millis()).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid())
    }

    /// When [`Id::new`] made it, to the millisecond; of an id that was made otherwise, some time.
    pub fn made_at(self) -> Timestamp {
        let millis = self.0.as_bytes()[..6].iter().fold(0_i64, |millis, byte| (millis << 8) | i64::from(*byte));
        Timestamp::from_micros(millis * 1_000)
    }

    /// An id that every process computes alike from the same name, for rows that several processes may create at once.
    pub fn of_name(name: &str) -> Self {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(name.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The id of this place in a numbered group: it differs from the others of the group in its last three bits alone.
    /// Ids of a group sort by their place, and from any of them the others are known without a look-up.
    ///
    /// # Panics
    /// For places beyond [`Id::LAST_PLACE`].
    #[must_use]
    pub fn at_place(self, place: u8) -> Self {
        assert!(place <= Self::LAST_PLACE, "a group has {} places", Self::LAST_PLACE + 1);
        let mut bytes = *self.0.as_bytes();
        bytes[15] = (bytes[15] & !Self::LAST_PLACE) | place;
        Self(Uuid::from_bytes(bytes))
    }

    /// The last place of a numbered group.
    pub const LAST_PLACE: u8 = 0b111;

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id whose 16 bytes these are; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        let uuid = ObjectBuilder::new()
            .schema_type(SchemaType::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
            .examples(["0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90"]);
        uuid.into()
    }
}

impl ToSchema for Id {}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Id {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        <Uuid as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        <Uuid as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <Uuid as Encode<'_, Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Id {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <Uuid as Decode<'r, Postgres>>::decode(value).map(Self)
    }
}

impl Type<Sqlite> for Id {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <str as Type<Sqlite>>::compatible(ty)
    }
}

impl Encode<'_, Sqlite> for Id {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'_, Sqlite>>::encode(self.0.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Id {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(<&str as Decode<'r, Sqlite>>::decode(value)?.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_of_their_creation() {
        let earlier = Id::new(Timestamp::from_micros(1_700_000_000_000_000));
        let later = Id::new(Timestamp::from_micros(1_700_000_000_001_000));
        assert!(earlier < later);
        assert!(earlier.to_string() < later.to_string());
    }

    #[test]
    fn a_name_gives_the_same_id_everywhere() {
        assert_eq!(Id::of_name("reminder:7"), Id::of_name("reminder:7"));
        assert_ne!(Id::of_name("reminder:7"), Id::of_name("reminder:8"));
    }
}
