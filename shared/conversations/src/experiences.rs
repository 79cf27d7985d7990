//! Experiences of another system, as it last told of them (d30).

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::{Result, Session, contains};
use recado_kernel::fields::{Wrong, check_text};
use recado_kernel::ids::Id;
use recado_kernel::sql;

use crate::bindings;
use crate::contacts::{LONGEST_NAME, check_name};
use crate::organizers::{self, LONGEST_ID, Organizer};

/// An experience, as another system tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub id: String,
    pub title: String,
    /// `None`: it stays as it is; a new one is made from the title.
    pub slug: Option<String>,
    /// `None`: it stays as it is. `Some(None)`: it has none.
    pub organizer: Option<Option<Organizer>>,
}

impl Told {
    /// Brings the fields into the form in which they are kept. What is wrong with one names it as it is called on the wire.
    pub fn tidy(&mut self) -> Wrong {
        let mut errors = Wrong::new();
        check_name(&mut errors, "id", &mut self.id, LONGEST_ID);
        check_name(&mut errors, "title", &mut self.title, LONGEST_NAME);
        check_text(&mut errors, "slug", self.slug.as_deref(), LONGEST_NAME);
        errors
    }
}

/// Keeps an experience with its organizer and the operator who answers for it (S003-26). Whether it is new. The group of
/// a new one is its operator's; what comes later changes no group.
pub async fn keep(session: &mut Session, told: &Told, now: Timestamp) -> Result<bool> {
    let organizer = told.organizer.as_ref().and_then(Option::as_ref);
    if let Some(organizer) = organizer {
        organizers::keep(session, organizer, now).await?;
    }
    let organizer_id = organizer.map(|organizer| organizer.id.as_str());
    let slug = told.slug.clone().filter(|slug| !slug.trim().is_empty());
    let inserted = sql!(
        run,
        session,
        "insert into tour_experiences (id, title, slug, organizer_id, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $5) on conflict (id) do nothing",
        told.id.as_str(),
        told.title.as_str(),
        slug.clone().unwrap_or_else(|| slugify(&told.title)),
        organizer_id,
        now
    )?;
    if inserted == 1 {
        if let Some(group) = default_group(session, organizer_id).await? {
            bindings::bind_at_first(session, &told.id, group, now).await?;
        }
        return Ok(true);
    }
    sql!(
        run,
        session,
        "update tour_experiences set title = $2, slug = coalesce($3, slug),
             organizer_id = case when $4 then $5 else organizer_id end, updated_at = $6 where id = $1",
        told.id.as_str(),
        told.title.as_str(),
        slug,
        told.organizer.is_some(),
        organizer_id,
        now
    )?;
    Ok(false)
}

async fn default_group(session: &mut Session, organizer_id: Option<&str>) -> Result<Option<Id>> {
    let Some(organizer_id) = organizer_id else { return Ok(None) };
    let found: Option<(Option<Id>,)> = sql!(
        one(Option<Id>),
        session,
        "select default_group from tour_operators where organizer_id = $1",
        organizer_id
    )?;
    Ok(found.and_then(|(group,)| group))
}

/// A title as it stands in URLs: `Tour al volcán` is `tour-al-volcan`.
fn slugify(title: &str) -> String {
    use unicode_normalization::UnicodeNormalization;

    let plain = title.nfd().filter(char::is_ascii).map(|letter| letter.to_ascii_lowercase());
    let dashed: String = plain.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// An experience that is kept.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Experience {
    pub id: String,
    pub title: String,
    pub slug: String,
    pub organizer_id: Option<String>,
    pub organizer_name: Option<String>,
}

const SELECT: &str = "select e.id, e.title, e.slug, e.organizer_id, o.name as organizer_name
     from tour_experiences e left join tour_organizers o on o.id = e.organizer_id";

/// Which experiences to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct ExperienceFilter {
    /// Part of the title or the slug.
    pub search: Option<String>,
    pub organizer_id: Option<String>,
}

/// The experiences that fit, by title, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &ExperienceFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Experience>, i64)> {
    let mut asked = Filter::default();
    asked.equal("e.organizer_id", filter.organizer_id.as_deref());
    if let Some(search) = &filter.search {
        let text = asked.value(contains(search));
        asked.require(format!("(e.title ilike {text} escape '\\' or e.slug ilike {text} escape '\\')"));
    }
    let list = List {
        select: SELECT,
        from: "tour_experiences e",
        key: "e.id",
        order: &["e.title", "e.id"],
        descending: false,
    };
    list.page(session, &asked, limit, offset).await
}

/// One experience.
pub async fn find(session: &mut Session, id: &str) -> Result<Option<Experience>> {
    sql!(one Experience, session, (&format!("{SELECT} where e.id = $1")), id)
}

#[cfg(test)]
mod tests {
    use super::slugify;

    #[test]
    fn a_title_becomes_a_slug() {
        for (title, slug) in [
            ("Tour al volcán", "tour-al-volcan"),
            ("  ¡Pesca & surf! 2 días ", "pesca-surf-2-dias"),
            ("山", ""),
            ("a--b", "a-b"),
        ] {
            assert_eq!(slugify(title), slug, "{title}");
        }
    }
}
