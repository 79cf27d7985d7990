//! Why a channel was used, or was not: each rule that was asked, as it decided then, and whether its setting is another one by now.
//!
//! The decision itself is not made again. A message that was made passed every rule, and a channel that was skipped carries the code
//! of the first rule that stopped it; the rules behind that one were not asked. What is compared with today is the setting alone.

use std::collections::HashSet;

use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::word_enum;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalogue::Catalogue;
use crate::channels::{self, Channel};
use crate::customers::{self, Recipient};
use crate::journal::{Fact, Line};
use crate::notifications::records::{self, Record};
use crate::orchestration::{Cell, Decided, Orchestration, SkipReason};
use crate::suppressions;
use crate::templates::{self, Template, TemplateKey};

/// How a rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    /// It is why the channel was not used.
    Stopped,
    /// Another rule had stopped the channel already.
    NotAsked,
    /// There was nothing to ask: a push has no address, a caller's own words have no template.
    NotApplicable,
}

word_enum!(Verdict, "a verdict");

/// One rule about one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ChannelRule)]
pub struct Rule {
    /// As it decided when the event was accepted.
    pub then: Verdict,
    /// Its setting is another one by now.
    pub has_changed: bool,
}

/// A template that fits as well, and less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TemplateRival)]
pub struct Rival {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
}

/// The decision about one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ChannelDecision)]
pub struct Why {
    /// Which channel.
    pub channel: Channel,
    /// Its place in the chain; 0 is tried first. Null: it is not in this chain.
    pub place: Option<i32>,
    /// Its message.
    pub notification_id: Option<Id>,
    /// Why it was not used, for programs; null when it was.
    #[schema(value_type = Option<String>)]
    pub reason: Option<SkipReason>,
    /// Its cell in the matrix.
    pub matrix: Rule,
    /// Whether the workshop sends on it.
    pub workshop: Rule,
    /// The customer's own wish.
    pub preference: Rule,
    /// An address, or for pushes a device.
    pub address: Rule,
    /// Whether the address is on the list of suppressions.
    pub suppression: Rule,
    /// Whether there is a text.
    pub template: Rule,
    /// The priority that the customer gave it then; null: none.
    pub priority: Option<i32>,
    /// Where it went, masked; null for pushes.
    pub masked_address: Option<String>,
    /// Devices that are subscribed now; null for channels with addresses.
    pub devices: Option<i64>,
    /// The text that was used.
    pub template_id: Option<Id>,
    /// Its name.
    pub template_name: Option<String>,
    /// Its version.
    pub template_version: Option<i32>,
    /// The cell names this template, so none was looked for.
    pub is_named: bool,
    /// Texts that would fit too, as they are now.
    pub beats: Vec<Rival>,
}

/// The decisions about a chain, and which matrix took them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons {
    /// All channels, those of the chain first.
    pub channels: Vec<Why>,
    /// The service of the matrix, by slug, where there was one and is one.
    pub service: Option<String>,
}

/// What is known of a chain, and of the settings as they are.
struct Known<'k> {
    chain: &'k [Record],
    skipped: Vec<(Channel, SkipReason)>,
    decided: Option<Decided>,
    catalogue: &'k Catalogue,
    recipient: Option<Recipient>,
    suppressed: HashSet<Channel>,
}

/// Gathers what is known of a chain. `skipped`: lines of its journal and of its row.
///
/// # Errors
/// When the database fails.
pub async fn of_chain(
    session: &mut Session,
    catalogue: &Catalogue,
    chain: &[Record],
    skipped: &[Line],
) -> Result<Reasons> {
    let Some(first) = chain.first() else { return Ok(Reasons { channels: Vec::new(), service: None }) };
    let decided = records::decided(session, first.task_id).await?;
    let recipient = customers::recipients(session, &[&first.customer_id]).await?.into_iter().next();
    let mut addresses: Vec<String> =
        chain.iter().map(|record| suppressions::key(record.channel, &record.recipient_address)).collect();
    addresses.extend(suppressions::addresses(recipient.iter().map(|recipient| &recipient.customer)));
    let suppressed = suppressions::among(session, &addresses).await?.into_iter().map(|(channel, _)| channel).collect();
    let skipped = skipped.iter().filter_map(|line| match line.fact()? {
        Fact::Skipped { reason } => Some((line.channel.as_deref()?.parse().ok()?, reason)),
        _ => None,
    });
    let known = Known { chain, skipped: skipped.collect(), decided, catalogue, recipient, suppressed };
    Ok(known.reasons())
}

/// The rules in the order in which they are asked.
const MATRIX: u8 = 0;
const REQUESTED: u8 = 1;
const WORKSHOP: u8 = 2;
const PREFERENCE: u8 = 3;
const ADDRESS: u8 = 4;
const SUPPRESSION: u8 = 5;
const TEMPLATE: u8 = 6;

fn rank(reason: SkipReason) -> u8 {
    match reason {
        SkipReason::DisabledInMatrix => MATRIX,
        SkipReason::NotRequested => REQUESTED,
        SkipReason::DisabledByWorkshop => WORKSHOP,
        SkipReason::OptedOut => PREFERENCE,
        SkipReason::NoAddress | SkipReason::NoPushSubscription => ADDRESS,
        SkipReason::Suppressed => SUPPRESSION,
        SkipReason::NoTemplate => TEMPLATE,
    }
}

/// How far the rules were asked about a channel.
#[derive(Clone, Copy)]
enum Course {
    Chosen,
    StoppedBy(u8),
    /// It is in another chain of the event, or was not part of what was repeated.
    Elsewhere,
}

impl Course {
    fn verdict(self, rule: u8, is_applicable: bool) -> Verdict {
        match self {
            _ if !is_applicable => Verdict::NotApplicable,
            Self::Chosen => Verdict::Passed,
            Self::StoppedBy(stopped) if rule < stopped => Verdict::Passed,
            Self::StoppedBy(stopped) if rule == stopped => Verdict::Stopped,
            Self::StoppedBy(_) | Self::Elsewhere => Verdict::NotAsked,
        }
    }

    /// `passes`: whether it would pass now, where that is known. `is_other`: it would, and with another value.
    fn rule(self, rule: u8, is_applicable: bool, passes: Option<bool>, is_other: bool) -> Rule {
        let then = self.verdict(rule, is_applicable);
        let has_changed = match then {
            Verdict::Passed => passes == Some(false) || is_other,
            Verdict::Stopped => passes == Some(true),
            Verdict::NotAsked | Verdict::NotApplicable => false,
        };
        Rule { then, has_changed }
    }
}

impl Known<'_> {
    fn reasons(&self) -> Reasons {
        let mut channels: Vec<Why> = Channel::ALL.into_iter().map(|channel| self.why(channel)).collect();
        channels.sort_by_key(|why| why.place.unwrap_or(i32::MAX));
        let service = self.config().and_then(|config| self.catalogue.service(config.service_type_id));
        Reasons { channels, service: service.map(|service| service.slug.clone()) }
    }

    fn why(&self, channel: Channel) -> Why {
        let message = self.chain.iter().find(|record| record.channel == channel);
        let reason = self.skipped.iter().find(|(skipped, _)| *skipped == channel).map(|(_, reason)| *reason);
        let reason = if message.is_some() { None } else { reason };
        let course = match (message, reason) {
            (Some(_), _) => Course::Chosen,
            (None, Some(reason)) => Course::StoppedBy(rank(reason)),
            (None, None) => Course::Elsewhere,
        };
        let (template, is_named, beats) = self.texts(channel);
        let devices = (channel == Channel::Push).then(|| self.recipient.as_ref().map_or(0, |one| one.devices));
        Why {
            channel,
            place: message.map(|record| record.fallback_order),
            notification_id: message.map(|record| record.id),
            reason,
            matrix: self.matrix(channel, course),
            workshop: self.workshop(channel, course),
            preference: self.preference(channel, message, course),
            address: self.address(channel, message, course),
            suppression: course.rule(
                SUPPRESSION,
                channel != Channel::Push,
                Some(!self.suppressed.contains(&channel)),
                false,
            ),
            template: Self::template(message, template, self.decided.is_some(), course),
            priority: message.and_then(|record| record.preferred),
            masked_address: message.and_then(|record| channels::mask(channel, &record.recipient_address)),
            devices,
            template_id: message.and_then(|record| record.template_id),
            template_name: message
                .filter(|record| record.template_id.is_some())
                .map(|record| record.template_name.clone()),
            template_version: message.and_then(|record| record.template_version),
            is_named,
            beats,
        }
    }

    fn first(&self) -> Option<&Record> {
        self.chain.first()
    }

    fn config(&self) -> Option<&Orchestration> {
        self.catalogue.configuration(self.decided?.config_id)
    }

    fn cell(&self, channel: Channel) -> Option<&Cell> {
        let Decided { config_id, phase_id, .. } = self.decided?;
        self.catalogue.cell(config_id, phase_id, channel)
    }

    fn matrix(&self, channel: Channel, course: Course) -> Rule {
        let is_on =
            self.config().is_some_and(|config| config.is_active) && self.cell(channel).is_some_and(|cell| cell.enabled);
        course.rule(MATRIX, self.decided.is_some(), Some(is_on), self.is_other_matrix())
    }

    /// Another matrix would decide now: the workshop got one of its own, or the subtype did.
    fn is_other_matrix(&self) -> bool {
        let (Some(decided), Some(key)) = (self.decided, self.key(Channel::Email)) else { return false };
        let service = key.service_type_id.unwrap_or_default();
        let now = self.catalogue.orchestration(service, key.subtype_id, key.target, key.taller_id);
        now.is_some_and(|config| config.id != decided.config_id)
    }

    fn workshop(&self, channel: Channel, course: Course) -> Rule {
        let taller_id = self.first().and_then(|record| record.taller_id.as_deref());
        let sends = self.catalogue.workshop(taller_id).is_none_or(|one| one.is_active && one.is_enabled(channel));
        course.rule(WORKSHOP, taller_id.is_some(), Some(sends), false)
    }

    fn preference(&self, channel: Channel, message: Option<&Record>, course: Course) -> Rule {
        let Some(recipient) = &self.recipient else { return course.rule(PREFERENCE, true, None, false) };
        let now = recipient.preferences.iter().find(|preference| preference.channel == channel);
        let is_other = message.is_some_and(|record| record.preferred != now.map(|preference| preference.priority));
        course.rule(PREFERENCE, true, Some(now.is_none_or(|preference| preference.enabled)), is_other)
    }

    fn address(&self, channel: Channel, message: Option<&Record>, course: Course) -> Rule {
        let Some(recipient) = &self.recipient else { return course.rule(ADDRESS, true, None, false) };
        if channel == Channel::Push {
            return course.rule(ADDRESS, true, Some(recipient.devices > 0), false);
        }
        let now = recipient.customer.address(channel);
        let is_other = message.is_some_and(|record| now != Some(record.recipient_address.as_str()));
        course.rule(ADDRESS, true, Some(now.is_some()), is_other)
    }

    fn template(message: Option<&Record>, now: Option<&Template>, is_decided: bool, course: Course) -> Rule {
        let is_applicable = is_decided || message.is_some_and(|record| record.template_id.is_some());
        let is_other = message.zip(now).is_some_and(|(record, template)| {
            (record.template_id, record.template_version) != (Some(template.id), Some(template.version))
        });
        course.rule(TEMPLATE, is_applicable, is_decided.then_some(now.is_some()), is_decided && is_other)
    }

    fn key(&self, channel: Channel) -> Option<TemplateKey<'_>> {
        let (decided, first) = (self.decided?, self.first()?);
        let service = self.catalogue.service(self.config()?.service_type_id)?;
        Some(TemplateKey {
            channel,
            target: first.target,
            event_type: &first.event_type,
            service_type_id: Some(service.parent_id.unwrap_or(service.id)),
            subtype_id: decided.subtype_id,
            phase_id: Some(decided.phase_id),
            taller_id: first.taller_id.as_deref(),
        })
    }

    /// The text that would be used now, whether its cell names it, and what it wins against.
    fn texts(&self, channel: Channel) -> (Option<&Template>, bool, Vec<Rival>) {
        let Some(key) = self.key(channel) else { return (None, false, Vec::new()) };
        let cell = self.cell(channel);
        let used = self.catalogue.words(cell, &key).map(|(template, _)| template);
        let is_named = used.is_some_and(|used| cell.is_some_and(|cell| cell.template_id == Some(used.id)));
        let usable = self.catalogue.templates.iter().filter(|template| self.catalogue.compiled(template.id).is_some());
        let others =
            templates::fitting(usable, &key).into_iter().filter(|one| Some(one.id) != used.map(|used| used.id));
        let rivals = others.map(|one| Rival { id: one.id, name: one.name.clone() });
        (used, is_named, rivals.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules behind the one that stopped a channel were not asked, whatever they would say.
    #[test]
    fn a_rule_stops_a_channel_and_those_behind_it_are_not_asked() {
        let rules = [MATRIX, WORKSHOP, PREFERENCE, ADDRESS, SUPPRESSION, TEMPLATE];
        for (reason, verdicts) in [
            (SkipReason::DisabledInMatrix, "Snnnnn"),
            (SkipReason::NotRequested, "pnnnnn"),
            (SkipReason::DisabledByWorkshop, "pSnnnn"),
            (SkipReason::OptedOut, "ppSnnn"),
            (SkipReason::NoAddress, "pppSnn"),
            (SkipReason::NoPushSubscription, "pppSnn"),
            (SkipReason::Suppressed, "ppppSn"),
            (SkipReason::NoTemplate, "pppppS"),
        ] {
            let told = rules.map(|rule| match Course::StoppedBy(rank(reason)).verdict(rule, true) {
                Verdict::Passed => 'p',
                Verdict::Stopped => 'S',
                Verdict::NotAsked => 'n',
                Verdict::NotApplicable => '-',
            });
            assert_eq!(told.iter().collect::<String>(), verdicts, "{reason}");
        }
        assert_eq!(Course::Chosen.verdict(MATRIX, false), Verdict::NotApplicable);
        assert_eq!(Course::Elsewhere.verdict(MATRIX, true), Verdict::NotAsked);
    }

    #[test]
    fn a_setting_that_is_another_one_now_is_said() {
        let changed = |course: Course, passes, is_other| course.rule(PREFERENCE, true, passes, is_other).has_changed;
        let stopped = Course::StoppedBy(PREFERENCE);
        for (course, passes, is_other, expected) in [
            (Course::Chosen, Some(true), false, false),
            (Course::Chosen, Some(true), true, true),
            (Course::Chosen, Some(false), false, true),
            (Course::Chosen, None, false, false),
            (stopped, Some(false), false, false),
            (stopped, Some(true), false, true),
            (stopped, None, false, false),
            (Course::StoppedBy(MATRIX), Some(false), true, false),
            (Course::Elsewhere, Some(false), true, false),
        ] {
            assert_eq!(changed(course, passes, is_other), expected);
        }
    }
}
