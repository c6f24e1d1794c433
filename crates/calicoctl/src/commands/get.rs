//! `calicoctl get`: reads the resources, and writes them in the format of `-o`.

use std::cell::OnceCell;
use std::path::Path;

use api::columns::{ColumnContext, DEFAULT_AS_NUMBER};
use api::{Kind, Resource};
use golang::json;
use resources::{Identifier, Listed, metadata};
use serde_json::{Map, Value as Json};

use super::resource_set::{Access, Outcome, Refused, ResourceSet, SessionError, SetError, errors, refused};
use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;
use crate::input::documents::go_text;
use crate::manifest::Namespaces;
use crate::output::{Format, FormatError, columns, template, yaml};
use crate::session::Session;

/// Show resources: all of a kind, or those that are named.
#[derive(Debug, clap::Args)]
#[command(long_about = long_about())]
pub struct Args {
    /// Where the resources are named.
    #[command(flatten)]
    source: Source,
    /// How to show them
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "ps")]
    output: String,
    /// Show the resources of all namespaces
    #[arg(short = 'A', long, short_alias = 'a')]
    all_namespaces: bool,
    /// Leave out what identifies a named resource: uid, resourceVersion, times
    #[arg(long)]
    export: bool,
    /// Kind, and names
    #[arg(value_name = "KIND NAME")]
    words: Vec<String>,
}

fn long_about() -> String {
    let name = |kind: &Kind| {
        let name = kind.name().to_lowercase();
        match kind.definition().short {
            Some(short) => format!("{name} ({short})"),
            None => name,
        }
    };
    let kinds: Vec<String> = Kind::ALL.iter().filter(|kind| kind.is_offered()).map(name).collect();
    format!(
        "Show resources: all of a kind, or those that are named.\n\n\
         Kinds: {}; in plural or singular.\n\n\
         Formats (-o): ps (the default, a table), wide (all columns), yaml, json, custom-columns=NAME,CIDR, go-template=TEMPLATE, \
         go-template-file=FILE. The data of a template is a list of what was asked for: \
         {{{{range .}}}}{{{{range .Items}}}}- {{{{.ObjectMeta.Name}}}}{{{{end}}}}{{{{end}}}} for a whole kind.",
        kinds.join(", ")
    )
}

/// The answer to one entry of the command line.
enum Answer {
    One(Box<Resource>),
    List(Kind, Listed),
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let prefixed = |text: String| Failure::in_calico_words(format!("failed to get resources: {text}"));
    let format = Format::parse(&args.output).map_err(|error| Failure::in_calico_words(error.to_string()))?;
    let source = &args.source;
    let access = match Access::to_read(source.config.config.as_deref(), context) {
        Ok(access) => access,
        Err(SessionError::Version(text)) => return Err(prefixed(text)),
        Err(error) => return Err(error.into()),
    };
    let set = match ResourceSet::load(source, &args.words, context) {
        Ok(Some(set)) => set,
        Ok(None) => return Ok(()),
        Err(SetError::Nothing) => {
            let text =
                "nothing to get: give a kind, as in `calicoctl get ippools`, or name a file with --filename";
            return Err(Failure::Message(text.to_string()));
        }
        Err(SetError::Argument(text) | SetError::Empty(text)) => return Err(prefixed(text)),
        Err(SetError::Failed(failure)) => return Err(failure),
    };
    let session = access.session()?;
    let namespaces = Namespaces { namespace: source.namespace.as_deref(), all: args.all_namespaces };
    let mut found = Vec::new();
    let outcomes = set.each(namespaces, |resource| {
        found.push(look(&session, resource, args.export && args.words.len() > 1)?);
        Ok(Outcome::Done)
    });
    let with_namespace = args.all_namespaces || source.namespace.as_deref().is_some_and(|n| !n.is_empty());
    let text = render(&format, &found, with_namespace, &session)?;
    context.stdout.write_all(text.as_bytes())?;
    match errors(&outcomes).as_slice() {
        [] => Ok(()),
        texts => Err(Failure::in_calico_words(texts.join("\n")).and(&set.told(&outcomes))),
    }
}

fn look(session: &Session, wanted: &Resource, export: bool) -> Result<Answer, Refused> {
    let (kind, namespace) = (wanted.kind(), wanted.metadata().namespace.as_deref());
    let client = session.client();
    if wanted.name().is_empty() {
        let listed = session.wait(client.list(kind, namespace)).map_err(|error| refused(session, error))?;
        return Ok(Answer::List(kind, listed));
    }
    if namespace.is_none() && kind.scope() == api::KindScope::Namespaced {
        return Err("cannot use --all-namespace flag for getting a single resource".to_string().into());
    }
    let found = session.wait(client.get(&Identifier::of(wanted)));
    let resource = found.map_err(|error| refused(session, error))?;
    Ok(Answer::One(Box::new(if export { metadata::without_identity(&resource) } else { resource })))
}

fn render(
    format: &Format,
    found: &[Answer],
    with_namespace: bool,
    session: &Session,
) -> Result<String, Failure> {
    let failed = |text: String| Failure::in_calico_words(text);
    let as_number = AsNumber { session, known: OnceCell::new() };
    Ok(match format {
        Format::Yaml => yaml::to_text(&document(found)),
        Format::Json => json::to_indented_text(&document(found), 2),
        Format::Ps => tables(found, &Headings::Default, with_namespace, &as_number)?,
        Format::Wide => tables(found, &Headings::Wide, with_namespace, &as_number)?,
        Format::CustomColumns(columns) => tables(found, &Headings::Custom(columns), false, &as_number)?,
        Format::GoTemplate(text) => render_template(text, found, &as_number).map_err(failed)?,
        Format::GoTemplateFile(path) => {
            let text = outside::read_text(Path::new(path), template::MAX_TEXT)
                .map_err(|error| failed(format!("open {path}: {}", go_text(&error))))?;
            render_template(&text, found, &as_number).map_err(failed)?
        }
    })
}

/// All answers as one document: one answer alone, several as an array, none as null.
fn document(found: &[Answer]) -> Json {
    let mut documents: Vec<Json> = found.iter().map(Answer::to_json).collect();
    match documents.len() {
        0 => Json::Null,
        1 => documents.swap_remove(0),
        _ => Json::Array(documents),
    }
}

impl Answer {
    fn kind(&self) -> Kind {
        match self {
            Answer::One(resource) => resource.kind(),
            Answer::List(kind, _) => *kind,
        }
    }

    fn resources(&self) -> &[Resource] {
        match self {
            Answer::One(resource) => std::slice::from_ref(&**resource),
            Answer::List(_, listed) => &listed.items,
        }
    }

    fn to_json(&self) -> Json {
        let (kind, listed) = match self {
            Answer::One(resource) => return resource.to_json(),
            Answer::List(kind, listed) => (kind, listed),
        };
        let mut metadata = Map::new();
        if let Some(revision) = &listed.revision {
            metadata.insert("resourceVersion".into(), revision.as_str().into());
        }
        let mut list = Map::new();
        list.insert("kind".into(), kind.list_kind().into());
        list.insert("apiVersion".into(), api::resource::API_VERSION.into());
        list.insert("metadata".into(), Json::Object(metadata));
        list.insert("items".into(), listed.items.iter().map(Resource::to_json).collect());
        Json::Object(list)
    }
}

enum Headings<'a> {
    Default,
    Wide,
    Custom(&'a [String]),
}

/// One table for each entry, with a blank line after each table.
fn tables(
    found: &[Answer],
    headings: &Headings<'_>,
    with_namespace: bool,
    as_number: &AsNumber<'_>,
) -> Result<String, Failure> {
    let mut text = String::new();
    for entry in found {
        let columns = entry.kind().columns();
        let mut shown: Vec<&str> = match headings {
            Headings::Default => columns.default.to_vec(),
            Headings::Wide => columns.wide.to_vec(),
            Headings::Custom(headings) => headings.iter().map(String::as_str).collect(),
        };
        if with_namespace && columns.get("NAMESPACE").is_some() {
            shown.insert(0, "NAMESPACE");
        }
        let mut chosen = Vec::with_capacity(shown.len());
        for heading in &shown {
            chosen.push(columns.get(heading).ok_or_else(|| {
                let valid = columns.all.iter().map(|column| column.heading.to_string()).collect();
                let error = FormatError::UnknownHeading { heading: heading.to_string(), valid };
                Failure::in_calico_words(error.to_string())
            })?);
        }
        let context = ColumnContext { default_as_number: &|| as_number.get() };
        let row =
            |resource: &Resource| chosen.iter().map(|column| (column.text)(resource, &context)).collect();
        let rows: Vec<Vec<String>> = entry.resources().iter().map(row).collect();
        text.push_str(&columns::table(&shown, &rows));
        text.push('\n');
    }
    Ok(text)
}

fn render_template(text: &str, found: &[Answer], as_number: &AsNumber<'_>) -> Result<String, String> {
    let documents: Vec<Json> = found.iter().map(Answer::to_json).collect();
    let config = |name: &str| match name.to_lowercase().as_str() {
        "asnumber" => Ok(as_number.get().to_string()),
        _ => Err("unhandled config type".to_string()),
    };
    let data = template::types::results(&documents);
    template::render(text, &data, &config).map_err(|error| error.to_string())
}

/// The AS number of nodes that name none. It is looked up when it is first wanted.
struct AsNumber<'s> {
    session: &'s Session,
    known: OnceCell<u32>,
}

impl AsNumber<'_> {
    fn get(&self) -> u32 {
        *self.known.get_or_init(|| {
            let id = Identifier::new(Kind::BGPConfiguration, None, "default");
            let configuration = self.session.wait(self.session.client().get(&id)).ok();
            let number = configuration.as_ref().and_then(|c| c.field(&["spec", "asNumber"])?.as_u64());
            number.and_then(|number| u32::try_from(number).ok()).unwrap_or(DEFAULT_AS_NUMBER)
        })
    }
}
