//! What is said on all channels under one template key: a text that is being written, and beside it the texts that the other channels would carry
//! then, by the renderer of the messages themselves. Pure, and costly for long texts: for a thread of its own.

use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;

use super::rendering::{CompiledTemplate, Context, Rendered};
use super::{Template, TemplateKey, best, filled};
use crate::catalogue::Catalogue;
use crate::channels::Channel;
use crate::plain_text::plain_text;

/// What phones show of a push before they cut it: title and body, in characters.
pub const PUSH_TITLE: usize = 60;
pub const PUSH_BODY: usize = 140;

/// The words of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub channel: Channel,
    /// The template that is sent, and its name; none for the text that is being written.
    pub template: Option<(Id, String)>,
    /// What is said, as the channel carries it.
    pub words: Result<Rendered, Sentence>,
}

/// The text that is being written, unless it cannot be compiled, and for each other channel the template that fits the same key best.
pub fn on_all_channels(
    catalogue: &Catalogue,
    written: Option<&CompiledTemplate>,
    key: &TemplateKey<'_>,
    values: &Context,
) -> Vec<Said> {
    let own = written.map(|written| Said {
        channel: key.channel,
        template: None,
        words: words(key.channel, written, values),
    });
    let others = Channel::ALL.into_iter().filter(|channel| *channel != key.channel);
    let others = others.filter_map(|channel| {
        let usable = catalogue.templates.iter().filter(|template| catalogue.compiled(template.id).is_some());
        let template: &Template = best(usable, &TemplateKey { channel, ..*key })?;
        let compiled = catalogue.compiled(template.id)?;
        let template = Some((template.id, template.name.clone()));
        Some(Said { channel, template, words: words(channel, compiled, values) })
    });
    own.into_iter().chain(others).collect()
}

fn words(channel: Channel, compiled: &CompiledTemplate, values: &Context) -> Result<Rendered, Sentence> {
    let rendered = compiled.render(&filled(compiled, values)).map_err(|error| error.explanation())?;
    Ok(as_carried(channel, rendered))
}

/// Only mails show HTML: on other channels its words are told.
pub fn as_carried(channel: Channel, rendered: Rendered) -> Rendered {
    match channel {
        Channel::Whatsapp | Channel::Push if rendered.html => {
            Rendered { body: plain_text(&rendered.body), html: false, ..rendered }
        }
        _ => rendered,
    }
}
