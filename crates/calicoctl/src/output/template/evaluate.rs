//! Runs a template's syntax tree, as Go's `text/template/exec.go` does, with its error texts.

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode};

use super::data::Data;
use super::syntax::{Syntax, command_source, offset, source};
use super::{MAX_OUTPUT, MAX_STEPS, function, structure};

/// How deep templates may call each other.
const MAX_DEPTH: usize = 200;
/// How deep blocks may nest when they are run, in all templates that are being run together.
const MAX_LEVELS: usize = 300;

/// Changes a string before it is written.
pub(super) type Change<'a> = &'a dyn Fn(&str) -> String;

pub(super) struct Run<'a> {
    pub(super) text: &'a str,
    pub(super) syntax: &'a Syntax,
    pub(super) config: &'a dyn Fn(&str) -> Result<String, String>,
    /// Set only for the runs that the guard against injection compares.
    pub(super) change: Option<Change<'a>>,
}

impl Run<'_> {
    pub(super) fn execute(&self, data: &Data) -> Result<String, String> {
        let mut state = State {
            run: self,
            output: String::new(),
            variables: vec![("$".to_owned(), data.clone())],
            at: (0, String::new()),
            depth: 0,
            levels: 0,
            steps: 0,
            name: "get".to_owned(),
        };
        state.list(&self.syntax.root, data)?;
        Ok(state.output)
    }
}

/// Tells the loop around a node how to go on after the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct State<'a> {
    run: &'a Run<'a>,
    output: String,
    variables: Vec<(String, Data)>,
    /// The offset and the text of the current expression, for errors.
    at: (usize, String),
    /// How many templates are being run.
    depth: usize,
    /// How many lists of nodes are being run: those of templates, and those of blocks in them.
    levels: usize,
    steps: u64,
    /// The name of the current template.
    name: String,
}

impl<'a> State<'a> {
    fn list(&mut self, list: &'a ListNode, dot: &Data) -> Result<Flow, String> {
        if self.levels == MAX_LEVELS {
            return Err(self.error(&format!("blocks nest deeper than {MAX_LEVELS} levels")));
        }
        self.levels += 1;
        let mut flow = Flow::Next;
        for node in &list.nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::Next {
                break;
            }
        }
        self.levels -= 1;
        Ok(flow)
    }

    /// Counts a step, so that no template runs for ever.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        match self.steps > MAX_STEPS {
            true => Err(self.error(&format!("the template runs too long: more than {MAX_STEPS} steps"))),
            false => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        if self.output.len() + text.len() > MAX_OUTPUT {
            return Err(self.error(&format!("the template writes more than {}", outside::Size(MAX_OUTPUT))));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn node(&mut self, node: &'a Node, dot: &Data) -> Result<Flow, String> {
        self.step()?;
        match node {
            Node::List(list) => return self.list(list, dot),
            Node::Text(text) => self.write(&text.text)?,
            Node::Action(action) => {
                let guarded = self.run.change.is_some() && action.pipe.decl.is_empty();
                let value = self.pipe(&action.pipe, dot, guarded)?;
                if action.pipe.decl.is_empty() {
                    self.write(&value.print())?;
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template(template) => {
                let data = match &template.pipe {
                    Some(pipe) => self.pipe(pipe, dot, false)?,
                    None => Data::Nothing,
                };
                let Some(body) = self.run.syntax.defined.get(template.name.as_str()) else {
                    return Err(self.error(&format!("template {:?} not defined", template.name.as_str())));
                };
                if self.depth == MAX_DEPTH {
                    return Err(self.error(&format!("exceeded maximum template depth ({MAX_DEPTH})")));
                }
                let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), data.clone())]);
                let outer_name = std::mem::replace(&mut self.name, template.name.to_string());
                self.depth += 1;
                self.list(body, &data)?;
                self.depth -= 1;
                self.name = outer_name;
                self.variables = outer;
            }
            Node::Break(_) => return Ok(Flow::Break),
            Node::Continue(_) => return Ok(Flow::Continue),
            Node::Define(_) => {}
        }
        Ok(Flow::Next)
    }

    /// Runs an `if` or a `with`.
    fn branch(&mut self, branch: &'a BranchNode, dot: &Data, with: bool) -> Result<Flow, String> {
        let scope = self.variables.len();
        let value = self.pipe(&branch.pipe, dot, false)?;
        let flow = if value.is_true() {
            self.list(&branch.body, if with { &value } else { dot })?
        } else if let Some(body) = &branch.else_body {
            self.list(body, dot)?
        } else {
            Flow::Next
        };
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn range(&mut self, branch: &'a BranchNode, dot: &Data) -> Result<Flow, String> {
        let scope = self.variables.len();
        // The variables are set to each item in turn, never to the whole value.
        let value = self.commands(&branch.pipe, dot, false)?;
        // The items of a number are made one at a time: all of them might not fit into memory.
        let items: Box<dyn Iterator<Item = (Data, Data)>> = match value.target() {
            Some(Data::List { items, .. }) => {
                Box::new(items.iter().cloned().enumerate().map(|(at, item)| (Data::int(at as i64), item)))
            }
            Some(Data::Map { entries, .. }) => {
                Box::new(entries.iter().map(|(key, value)| (Data::text(key), value.clone())))
            }
            Some(Data::Int { value, .. }) => Box::new((0..*value).map(|at| (Data::int(at), Data::int(at)))),
            None | Some(Data::Nothing) => Box::new(std::iter::empty()),
            Some(other) => return Err(self.error(&format!("range can't iterate over {}", other.print()))),
        };
        let mut items = items.peekable();
        if items.peek().is_none() {
            let flow = branch.else_body.as_ref().map_or(Ok(Flow::Next), |body| self.list(body, dot))?;
            self.variables.truncate(scope);
            return Ok(flow);
        }
        for (key, item) in items {
            self.step()?;
            let pair = match branch.pipe.decl.as_slice() {
                [] => vec![],
                [only] => vec![(only, item.clone())],
                [first, second, ..] => vec![(first, key), (second, item.clone())],
            };
            for (name, value) in pair {
                self.bind(name, value, branch.pipe.is_assign);
            }
            let flow = self.list(&branch.body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn bind(&mut self, name: &str, value: Data, assign: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, old)) if assign => *old = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    /// With `guarded`, the values of fields and variables go through `Run::change`.
    fn pipe(&mut self, pipe: &'a PipeNode, dot: &Data, guarded: bool) -> Result<Data, String> {
        let value = self.commands(pipe, dot, guarded)?;
        for name in &pipe.decl {
            self.bind(name, value.clone(), pipe.is_assign);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &'a PipeNode, dot: &Data, guarded: bool) -> Result<Data, String> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value, guarded)?);
        }
        Ok(value.unwrap_or(Data::Nothing))
    }

    fn command(
        &mut self,
        command: &'a CommandNode,
        dot: &Data,
        piped: Option<Data>,
        guarded: bool,
    ) -> Result<Data, String> {
        let Some((first, args)) = command.args.split_first() else { return Ok(Data::Nothing) };
        if let Expr::Identifier(_, name) = first {
            self.at = (offset(first), source(first));
            let guarded = guarded && name != "StructuralData";
            return self.function(name, command, args, dot, piped, guarded);
        }
        if !args.is_empty() || piped.is_some() {
            self.at = (offset(first), source(first));
            let text = match first {
                Expr::Field(_, fields) | Expr::Variable(_, _, fields) | Expr::Chain(_, _, fields)
                    if !fields.is_empty() =>
                {
                    // Go evaluates the field first: an error of the field is reported instead of this one.
                    self.expression(first, dot, false)?;
                    format!("{} has arguments but cannot be invoked as function", fields[fields.len() - 1])
                }
                _ => format!("can't give argument to non-function {}", source(first)),
            };
            return Err(self.error(&text));
        }
        if let Expr::Nil(_) = first {
            self.at = (offset(first), source(first));
            return Err(self.error("nil is not a command"));
        }
        self.expression(first, dot, guarded)
    }

    fn function(
        &mut self,
        name: &str,
        command: &'a CommandNode,
        args: &'a [Expr],
        dot: &Data,
        piped: Option<Data>,
        guarded: bool,
    ) -> Result<Data, String> {
        let count = args.len() + usize::from(piped.is_some());
        self.check_count(name, count)?;
        let mut values = Vec::with_capacity(count);
        for arg in args {
            let value = self.expression(arg, dot, guarded)?;
            let decides = match name {
                "and" => !value.is_true(),
                "or" => value.is_true(),
                _ => false,
            };
            if decides {
                return Ok(value);
            }
            values.push(value);
        }
        values.extend(piped);
        if matches!(name, "and" | "or") {
            return Ok(values.pop().unwrap_or(Data::Nothing));
        }
        if function::weight(name, &values) > MAX_OUTPUT {
            let most = outside::Size(MAX_OUTPUT);
            return Err(self.error(&format!("error calling {name}: it would make more than {most}")));
        }
        function::call(name, &values, self.run.config).map_err(|text| {
            self.at = (command.pos.offset, command_source(&command.args));
            self.error(&format!("error calling {name}: {text}"))
        })
    }

    fn check_count(&self, name: &str, count: usize) -> Result<(), String> {
        let (least, most) = function::arity(name);
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        Err(self.error(&format!("wrong number of args for {name}: want {want} got {count}")))
    }

    fn expression(&mut self, expression: &'a Expr, dot: &Data, guarded: bool) -> Result<Data, String> {
        self.at = (offset(expression), source(expression));
        let value = match expression {
            Expr::Dot(_) => dot.clone(),
            Expr::Field(_, fields) => self.fields(dot, fields)?,
            Expr::Variable(_, name, fields) => {
                let variable = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = variable else {
                    return Err(self.error(&format!("undefined variable: {name}")));
                };
                self.fields(&value.clone(), fields)?
            }
            Expr::Chain(_, inner, fields) => {
                let value = match &**inner {
                    Expr::Pipe(_, pipe) => self.pipe(pipe, dot, guarded)?,
                    inner => self.expression(inner, dot, guarded)?,
                };
                self.at = (offset(expression), source(expression));
                return self.fields(&value, fields);
            }
            Expr::Pipe(_, pipe) => return self.pipe(pipe, dot, guarded),
            Expr::Identifier(_, name) => {
                self.check_count(name, 0)?;
                return function::call(name, &[], self.run.config)
                    .map_err(|text| self.error(&format!("error calling {name}: {text}")));
            }
            Expr::String(_, text) => return Ok(Data::text(text.to_string())),
            Expr::Number(_, Number::Int(value)) => return Ok(Data::int(*value)),
            Expr::Number(_, Number::Uint(value)) => {
                return Ok(Data::int(i64::try_from(*value).unwrap_or(i64::MAX)));
            }
            Expr::Number(_, Number::Float(value)) => return Ok(Data::Float(*value)),
            Expr::Bool(_, value) => return Ok(Data::Bool(*value)),
            Expr::Nil(_) => return Ok(Data::Nothing),
        };
        match self.run.change.filter(|_| guarded) {
            None => Ok(value),
            Some(change) => structure::with_changed_strings(&value, change).map_err(|text| {
                // safetext inserts this function into the template, where it has no position.
                self.at = (0, "ApplyInjectionDetection".to_owned());
                self.error(&format!("error calling ApplyInjectionDetection: {text}"))
            }),
        }
    }

    fn fields(&self, data: &Data, fields: &[impl AsRef<str>]) -> Result<Data, String> {
        fields.iter().try_fold(data.clone(), |data, field| self.field(&data, field.as_ref()))
    }

    fn field(&self, data: &Data, name: &str) -> Result<Data, String> {
        match data.target() {
            Some(Data::Nothing) => Ok(Data::Nothing),
            None => Err(self.error(&format!("nil pointer evaluating {}.{name}", data.go_type()))),
            Some(Data::Map { entries, .. }) => Ok(entries.get(name).cloned().unwrap_or(Data::Nothing)),
            Some(target) => target.field(name).cloned().ok_or_else(|| {
                self.error(&format!("can't evaluate field {name} in type {}", data.go_type()))
            }),
        }
    }

    fn error(&self, text: &str) -> String {
        let (offset, context) = &self.at;
        // The parser's offset may lie inside of a character: then the last boundary before it is used.
        let before = (0..=*offset).rev().find_map(|end| self.run.text.get(..end)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        format!("template: get:{line}:{column}: executing {:?} at <{context}>: {text}", self.name)
    }
}
