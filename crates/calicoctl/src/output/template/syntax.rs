//! Turns the text of a template into gotmpl's syntax tree. Errors have Go's texts.

use std::collections::BTreeMap;

use gotmpl::TemplateError;
use gotmpl::parse::{Expr, ListNode, Node, Parser, PipeNode};

use super::function;

/// A template and the templates defined in it.
pub(super) struct Syntax {
    pub(super) root: ListNode,
    pub(super) defined: BTreeMap<String, ListNode>,
}

/// Parses a template under the name `get`.
pub(super) fn parse(text: &str) -> Result<Syntax, String> {
    check_depth(text)?;
    let parser = Parser::with_name(Some("get"), text, "{{", "}}").map_err(|error| message(text, error))?;
    let (root, defines) = parser.parse().map_err(|error| message(text, error))?;
    let defined: BTreeMap<_, _> =
        defines.into_iter().map(|define| (define.name.to_string(), define.body)).collect();
    check_balance(text)?;
    for body in defined.values().chain([&root]) {
        Names { variables: vec!["$".to_owned()] }.check_list(body)?;
    }
    Ok(Syntax { root, defined })
}

/// The deepest nesting of blocks and parentheses. gotmpl's parser has no bound of its own, and recurses for
/// each level.
const MAX_NESTING: usize = 200;

/// Refuses a template that nests deeper than [`MAX_NESTING`]. This does not parse: it also counts parentheses
/// inside of strings.
fn check_depth(text: &str) -> Result<(), String> {
    // For each open block the number of blocks that it stands for: every `else if` begins one more.
    let mut blocks: Vec<usize> = Vec::new();
    let mut at = 0;
    let mut parts = text.split("{{");
    at += parts.next().map_or(0, str::len);
    for part in parts {
        let action = part.split("}}").next().unwrap_or_default();
        let mut words = action.trim_start_matches('-').split_whitespace();
        match (words.next(), words.next()) {
            (Some("if" | "range" | "with" | "define" | "block"), _) => blocks.push(1),
            (Some("else"), Some("if" | "with")) => {
                if let Some(open) = blocks.last_mut() {
                    *open += 1;
                }
            }
            (Some("end"), _) => drop(blocks.pop()),
            _ => {}
        }
        let mut open = 0_usize;
        let mut deepest = 0;
        for byte in part.bytes() {
            match byte {
                b'(' => open += 1,
                b')' => open = open.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(open);
        }
        if blocks.iter().sum::<usize>() > MAX_NESTING || deepest > MAX_NESTING {
            let line = text[..at].matches('\n').count() + 1;
            return Err(format!(
                "template: get:{line}: blocks or parentheses nest deeper than {MAX_NESTING}"
            ));
        }
        at += "{{".len() + part.len();
    }
    Ok(())
}

fn message(text: &str, error: TemplateError) -> String {
    let (TemplateError::Parse { line, col, message, .. } | TemplateError::Lex { line, col, message, .. }) =
        error
    else {
        return format!("template: get: {error}");
    };
    let message = match message.as_str() {
        "unterminated string" => "unterminated quoted string".to_owned(),
        "unterminated raw string" => "unterminated raw quoted string".to_owned(),
        "empty command" => "missing value for command".to_owned(),
        message => match message.strip_prefix("unexpected character: '").and_then(|rest| rest.chars().next())
        {
            Some(c) => bad_character(text, line, col, c),
            None => message.to_owned(),
        },
    };
    format!("template: get:{line}: {message}")
}

/// Go's text for a wrong character. Go distinguishes a character that breaks a word from one that stands
/// alone.
fn bad_character(text: &str, line: usize, col: usize, c: char) -> String {
    let before: Vec<char> = text
        .split('\n')
        .nth(line.saturating_sub(1))
        .unwrap_or_default()
        .chars()
        .take(col.saturating_sub(1))
        .collect();
    let before = before.iter().rposition(|&found| found == c).map_or(&before[..], |at| &before[..at]);
    let inside = match before.iter().rev().find(|c| !c.is_whitespace()) {
        None | Some('{' | '|' | '(') => "command",
        Some(_) => "operand",
    };
    match before.last() {
        Some(last) if last.is_alphanumeric() || matches!(last, '.' | '_' | '$') => {
            format!("bad character U+{:04X} '{c}'", u32::from(c))
        }
        _ => format!("unexpected {:?} in {inside}", c.to_string()),
    }
}

/// How many bytes are parsed at most to find an end without a block. In a longer template it is told as a
/// block without an end.
const MAX_SEARCH: usize = 4 << 20;

/// Refuses a block without an end, and an end without a block. Go reports both, but gotmpl just stops parsing
/// there. So a text is appended to the template: in a sound template this text is the last node at the top
/// level.
fn check_balance(text: &str) -> Result<(), String> {
    if is_closed(text) {
        return Ok(());
    }
    let keywords = text.match_indices("{{").filter_map(|(at, _)| {
        let word = text[at + 2..].trim_start_matches('-').trim_start();
        Some((at, ["end", "else"].into_iter().find(|keyword| word.starts_with(keyword))?))
    });
    // For each of them, all that is before it is parsed once more.
    let mut parsed = 0;
    let searched = keywords.take_while(|(at, _)| {
        parsed += at;
        parsed <= MAX_SEARCH
    });
    let stray = searched.into_iter().find(|(at, _)| is_closed(&text[..*at]));
    let (at, fault) = match stray {
        Some((at, keyword)) => (at, format!("unexpected {{{{{keyword}}}}}")),
        None => (text.len(), "unexpected EOF".to_owned()),
    };
    let line = text[..at].matches('\n').count() + 1;
    Err(format!("template: get:{line}: {fault}"))
}

fn is_closed(text: &str) -> bool {
    const MARK: &str = "\u{1}end of the template\u{1}";
    let marked = format!("{text}{MARK}");
    let tree = Parser::new(&marked, "{{", "}}").and_then(Parser::parse);
    tree.is_ok_and(
        |(root, _)| matches!(root.nodes.last(), Some(Node::Text(last)) if last.text.ends_with(MARK)),
    )
}

/// Finds names of functions and variables that do not exist. Go reports them before it runs the template.
struct Names {
    variables: Vec<String>,
}

impl Names {
    fn check_list(&mut self, list: &ListNode) -> Result<(), String> {
        list.nodes.iter().try_for_each(|node| self.check_node(node))
    }

    fn check_node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::List(list) => self.check_list(list),
            Node::Action(action) => self.check_pipe(&action.pipe),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                let scope = self.variables.len();
                self.check_pipe(&branch.pipe)?;
                self.check_list(&branch.body)?;
                branch.else_body.as_ref().map_or(Ok(()), |body| self.check_list(body))?;
                self.variables.truncate(scope);
                Ok(())
            }
            Node::Template(template) => template.pipe.as_ref().map_or(Ok(()), |pipe| self.check_pipe(pipe)),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) | Node::Define(_) => Ok(()),
        }
    }

    fn check_pipe(&mut self, pipe: &PipeNode) -> Result<(), String> {
        pipe.commands
            .iter()
            .flat_map(|command| &command.args)
            .try_for_each(|arg| self.check_expression(arg))?;
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().map(|name| name.to_string()));
        }
        Ok(())
    }

    fn check_expression(&mut self, expression: &Expr) -> Result<(), String> {
        match expression {
            Expr::Identifier(pos, name) if !function::NAMES.contains(&name.as_str()) => {
                Err(format!("template: get:{}: function \"{name}\" not defined", pos.line))
            }
            Expr::Variable(pos, name, _) if !self.variables.iter().any(|known| known == name.as_str()) => {
                Err(format!("template: get:{}: undefined variable \"{name}\"", pos.line))
            }
            Expr::Pipe(_, pipe) => self.check_pipe(pipe),
            Expr::Chain(_, inner, _) => self.check_expression(inner),
            _ => Ok(()),
        }
    }
}

/// The expression as Go prints it in messages.
pub(super) fn source(expression: &Expr) -> String {
    let chain = |fields: &[_]| fields.iter().map(|field| format!(".{field}")).collect::<String>();
    match expression {
        Expr::Dot(_) => ".".to_owned(),
        Expr::Field(_, fields) => chain(fields),
        Expr::Variable(_, name, fields) => format!("{name}{}", chain(fields)),
        Expr::Identifier(_, name) => name.to_string(),
        Expr::String(_, text) => format!("{text:?}"),
        Expr::Number(_, gotmpl::parse::Number::Int(value)) => value.to_string(),
        Expr::Number(_, gotmpl::parse::Number::Uint(value)) => value.to_string(),
        Expr::Number(_, gotmpl::parse::Number::Float(value)) => value.to_string(),
        Expr::Bool(_, value) => value.to_string(),
        Expr::Nil(_) => "nil".to_owned(),
        Expr::Pipe(_, pipe) => format!("({})", pipe_source(pipe)),
        Expr::Chain(_, inner, fields) => format!("{}{}", source(inner), chain(fields)),
    }
}

fn pipe_source(pipe: &PipeNode) -> String {
    let commands =
        pipe.commands.iter().map(|command| command_source(&command.args)).collect::<Vec<_>>().join(" | ");
    if pipe.decl.is_empty() {
        return commands;
    }
    let names = pipe.decl.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    format!("{names} {} {commands}", if pipe.is_assign { "=" } else { ":=" })
}

/// A command and its arguments as Go prints them in messages.
pub(super) fn command_source(args: &[Expr]) -> String {
    args.iter().map(source).collect::<Vec<_>>().join(" ")
}

/// The position that Go gives an expression: for a chain of fields, that of the second field if there is one.
pub(super) fn offset(expression: &Expr) -> usize {
    let start = expression.pos().offset;
    match expression {
        Expr::Field(_, fields) if fields.len() > 1 => start + 1 + fields[0].len(),
        Expr::Variable(_, name, fields) if !fields.is_empty() => start + name.len(),
        _ => start,
    }
}
