//! Builds a tree of nodes from tokens, as `goyaml.v2/parserc.go` and `decode.go` do.

use std::collections::HashMap;

use super::scanner::{FoundBy, Problem, Scanner, Token, TokenKind};
use super::{MAX_DEPTH, YamlError};

/// The index of a node in its [`Tree`].
pub type NodeId = usize;

/// One document. An alias holds the index of a node, so a document may contain itself.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
}

/// A node of a document.
#[derive(Debug)]
pub struct Node {
    /// The line where the node begins, counted from 0.
    pub line: usize,
    /// What kind of node it is, with its contents.
    pub kind: NodeKind,
}

/// The kinds of nodes, with their contents.
#[derive(Debug)]
pub enum NodeKind {
    /// A single value, such as a string or a number.
    Scalar(Scalar),
    /// A list, by the ids of its items.
    Sequence(Vec<NodeId>),
    /// The ids of keys and values in turn.
    Mapping(Vec<NodeId>),
    /// An alias: it stands for the node that has its anchor.
    Alias {
        /// The name of the anchor.
        name: String,
        /// The node that has the anchor.
        target: NodeId,
    },
}

/// The text of a scalar, and what the document says of its type.
#[derive(Debug)]
pub struct Scalar {
    /// The scalar's text, without quotes and with escapes resolved.
    pub value: String,
    /// The scalar's tag; empty if it has none.
    pub tag: String,
    /// Whether the text of the scalar decides what a missing tag is (plain style).
    pub implicit: bool,
}

impl Tree {
    /// The root is always the first node.
    pub const ROOT: NodeId = 0;

    /// The node with that id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    fn add(&mut self, line: usize, kind: NodeKind) -> NodeId {
        self.nodes.push(Node { line, kind });
        self.nodes.len() - 1
    }

    fn add_empty(&mut self, line: usize) -> NodeId {
        self.add(line, NodeKind::Scalar(Scalar { value: String::new(), tag: String::new(), implicit: true }))
    }

    fn adopt(&mut self, parent: NodeId, child: NodeId) {
        if let NodeKind::Sequence(children) | NodeKind::Mapping(children) = &mut self.nodes[parent].kind {
            children.push(child);
        }
    }
}

/// Parses documents one after the other, so that an error in a later one leaves the earlier ones usable.
pub struct Documents {
    scanner: Scanner,
    started: bool,
    /// The tag handles of the current document, and what they stand for.
    handles: Vec<(String, String)>,
    anchors: HashMap<String, NodeId>,
    tree: Tree,
}

/// Why there is no tree. Lines are counted from 0.
enum TreeError {
    Syntax(Problem),
    /// The name of the anchor, and the line of the alias that refers to it.
    UnknownAnchor(String, usize),
    TooDeep(usize),
}

impl From<Problem> for TreeError {
    fn from(problem: Problem) -> Self {
        TreeError::Syntax(problem)
    }
}

type Parse<T> = Result<T, TreeError>;

/// Parses the contents of the collection with that id, at that depth.
type Contents = fn(&mut Documents, NodeId, usize) -> Parse<()>;

impl Documents {
    /// The documents of a text.
    pub fn new(text: &[u8]) -> Documents {
        Documents {
            scanner: Scanner::new(text),
            started: false,
            handles: Vec::new(),
            anchors: HashMap::new(),
            tree: Tree::default(),
        }
    }

    /// The next document; `None` at the end of the stream. After an error there are no more documents.
    pub fn next_document(&mut self) -> Result<Option<Tree>, YamlError> {
        self.document().map_err(|failure| match failure {
            TreeError::Syntax(problem) => {
                let line = problem.line.max(problem.context_line) + 1;
                YamlError::Malformed { text: message(&problem), line, is_quoting: false }
            }
            TreeError::UnknownAnchor(name, line) => YamlError::Malformed {
                text: format!("unknown anchor '{name}' referenced"),
                line: line + 1,
                is_quoting: true,
            },
            TreeError::TooDeep(line) => YamlError::Malformed {
                text: format!("line {}: exceeded max depth of {MAX_DEPTH}", line + 1),
                line: line + 1,
                is_quoting: false,
            },
        })
    }

    fn document(&mut self) -> Parse<Option<Tree>> {
        self.tree = Tree::default();
        self.anchors.clear();
        let first = !self.started;
        if first {
            self.started = true;
            self.scanner.peek()?;
            self.scanner.take();
        }
        while !first && *self.peek()? == TokenKind::DocumentEnd {
            self.scanner.take();
        }
        match self.peek()? {
            TokenKind::StreamEnd => return Ok(None),
            TokenKind::VersionDirective { .. }
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart => {
                self.explicit_document()?;
            }
            _ if !first => self.explicit_document()?,
            _ => {
                self.directives()?;
                self.node(true, false, 0)?;
            }
        }
        if *self.peek()? == TokenKind::DocumentEnd {
            self.scanner.take();
        }
        self.handles.clear();
        Ok(Some(std::mem::take(&mut self.tree)))
    }

    fn explicit_document(&mut self) -> Parse<()> {
        self.directives()?;
        if *self.peek()? != TokenKind::DocumentStart {
            return Err(self.problem("did not find expected <document start>", 0));
        }
        self.scanner.take();
        match self.peek()? {
            TokenKind::VersionDirective { .. }
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd => {
                let line = self.line();
                self.tree.add_empty(line);
            }
            _ => drop(self.node(true, false, 0)?),
        }
        Ok(())
    }

    fn directives(&mut self) -> Parse<()> {
        let mut versioned = false;
        loop {
            match self.peek()?.clone() {
                TokenKind::VersionDirective { .. } if versioned => {
                    return Err(self.problem("found duplicate %YAML directive", 0));
                }
                TokenKind::VersionDirective { major: 1, minor: 1 } => versioned = true,
                TokenKind::VersionDirective { .. } => {
                    return Err(self.problem("found incompatible YAML document", 0));
                }
                TokenKind::TagDirective { handle, .. }
                    if self.handles.iter().any(|(known, _)| *known == handle) =>
                {
                    return Err(self.problem("found duplicate %TAG directive", 0));
                }
                TokenKind::TagDirective { handle, prefix } => self.handles.push((handle, prefix)),
                _ => break,
            }
            self.scanner.take();
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.handles.iter().any(|(known, _)| known == handle) {
                self.handles.push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    /// `indentless` says that the items of a list may stand in the column of the key before the list.
    fn node(&mut self, block: bool, indentless: bool, depth: usize) -> Parse<NodeId> {
        let Token { kind, line: start } = self.token()?.clone();
        if let TokenKind::Alias(name) = kind {
            self.scanner.take();
            let Some(&target) = self.anchors.get(&name) else {
                return Err(TreeError::UnknownAnchor(name, start));
            };
            return Ok(self.tree.add(start, NodeKind::Alias { name, target }));
        }
        let (anchor, tag) = self.properties(start)?;
        let Token { kind, line } = self.token()?.clone();
        let (node, contents): (NodeKind, Contents) = match kind {
            TokenKind::BlockEntry if indentless => {
                (NodeKind::Sequence(Vec::new()), Self::indentless_sequence)
            }
            TokenKind::Scalar { value, plain } => {
                self.scanner.take();
                let implicit = tag.is_empty() && plain || tag == "!";
                return Ok(self.add_anchored(
                    start,
                    NodeKind::Scalar(Scalar { value, tag, implicit }),
                    anchor,
                ));
            }
            TokenKind::FlowSequenceStart => (NodeKind::Sequence(Vec::new()), Self::flow_sequence),
            TokenKind::FlowMappingStart => (NodeKind::Mapping(Vec::new()), Self::flow_mapping),
            TokenKind::BlockSequenceStart if block => (NodeKind::Sequence(Vec::new()), Self::block_sequence),
            TokenKind::BlockMappingStart if block => (NodeKind::Mapping(Vec::new()), Self::block_mapping),
            _ if anchor.is_some() || !tag.is_empty() => {
                let implicit = tag.is_empty();
                let scalar = Scalar { value: String::new(), tag, implicit };
                return Ok(self.add_anchored(start, NodeKind::Scalar(scalar), anchor));
            }
            _ => return Err(self.problem("did not find expected node content", start)),
        };
        if depth >= MAX_DEPTH {
            return Err(TreeError::TooDeep(line));
        }
        let id = self.add_anchored(start, node, anchor);
        contents(self, id, depth + 1)?;
        Ok(id)
    }

    fn add_anchored(&mut self, line: usize, kind: NodeKind, anchor: Option<String>) -> NodeId {
        let id = self.tree.add(line, kind);
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, id);
        }
        id
    }

    /// Reads an anchor and a tag, in either order.
    fn properties(&mut self, start: usize) -> Parse<(Option<String>, String)> {
        let mut anchor = None;
        let mut tag = None;
        loop {
            let Token { kind, line } = self.token()?.clone();
            match kind {
                TokenKind::Anchor(name) if anchor.is_none() => anchor = Some(name),
                TokenKind::Tag { handle, suffix } if tag.is_none() => tag = Some((handle, suffix, line)),
                _ => break,
            }
            self.scanner.take();
        }
        let tag = match tag {
            None => String::new(),
            Some((handle, suffix, _)) if handle.is_empty() => suffix,
            Some((handle, suffix, line)) => match self.handles.iter().find(|(known, _)| *known == handle) {
                Some((_, prefix)) => format!("{prefix}{suffix}"),
                None => return Err(problem_at("found undefined tag handle", line, start)),
            },
        };
        Ok((anchor, tag))
    }

    fn block_sequence(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        let start = self.take_line();
        loop {
            match self.peek()? {
                TokenKind::BlockEntry => {
                    let line = self.take_line();
                    match self.peek()? {
                        TokenKind::BlockEntry | TokenKind::BlockEnd => self.empty(parent, line),
                        _ => self.child(parent, true, false, depth)?,
                    }
                }
                TokenKind::BlockEnd => {
                    self.scanner.take();
                    return Ok(());
                }
                _ => return Err(self.problem("did not find expected '-' indicator", start)),
            }
        }
    }

    fn indentless_sequence(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        while *self.peek()? == TokenKind::BlockEntry {
            let line = self.take_line();
            match self.peek()? {
                TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => {
                    self.empty(parent, line);
                }
                _ => self.child(parent, true, false, depth)?,
            }
        }
        Ok(())
    }

    fn block_mapping(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        let start = self.take_line();
        loop {
            match self.peek()? {
                TokenKind::Key => {
                    let line = self.take_line();
                    self.block_mapping_part(parent, line, depth)?;
                }
                TokenKind::BlockEnd => {
                    self.scanner.take();
                    return Ok(());
                }
                _ => return Err(self.problem("did not find expected key", start)),
            }
            match self.peek()? {
                TokenKind::Value => {
                    let line = self.take_line();
                    self.block_mapping_part(parent, line, depth)?;
                }
                _ => self.empty(parent, self.line()),
            }
        }
    }

    fn block_mapping_part(&mut self, parent: NodeId, line: usize, depth: usize) -> Parse<()> {
        match self.peek()? {
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => self.empty(parent, line),
            _ => self.child(parent, true, true, depth)?,
        }
        Ok(())
    }

    fn flow_sequence(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        let start = self.take_line();
        let mut first = true;
        while *self.peek()? != TokenKind::FlowSequenceEnd {
            if !first {
                if *self.peek()? != TokenKind::FlowEntry {
                    return Err(self.problem("did not find expected ',' or ']'", start));
                }
                self.scanner.take();
            }
            first = false;
            match self.peek()? {
                TokenKind::Key => self.flow_pair(parent, depth)?,
                TokenKind::FlowSequenceEnd => break,
                _ => self.child(parent, false, false, depth)?,
            }
        }
        self.scanner.take();
        Ok(())
    }

    /// A mapping of one entry that has no braces: `[a: b]`.
    fn flow_pair(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        let line = self.take_line();
        let pair = self.tree.add(line, NodeKind::Mapping(Vec::new()));
        self.tree.adopt(parent, pair);
        match self.peek()? {
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd => {
                // goyaml takes this token, too.
                let line = self.take_line();
                self.empty(pair, line);
            }
            _ => self.child(pair, false, false, depth)?,
        }
        let line = self.token()?.line;
        if *self.peek()? == TokenKind::Value {
            self.scanner.take();
            if !matches!(self.peek()?, TokenKind::FlowEntry | TokenKind::FlowSequenceEnd) {
                return self.child(pair, false, false, depth);
            }
        }
        self.empty(pair, line);
        Ok(())
    }

    fn flow_mapping(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        let start = self.take_line();
        let mut first = true;
        while *self.peek()? != TokenKind::FlowMappingEnd {
            if !first {
                if *self.peek()? != TokenKind::FlowEntry {
                    return Err(self.problem("did not find expected ',' or '}'", start));
                }
                self.scanner.take();
            }
            first = false;
            match self.peek()? {
                TokenKind::Key => {
                    self.scanner.take();
                    match self.peek()? {
                        TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMappingEnd => {
                            self.empty(parent, self.line());
                        }
                        _ => self.child(parent, false, false, depth)?,
                    }
                    self.flow_mapping_value(parent, depth)?;
                }
                TokenKind::FlowMappingEnd => break,
                _ => {
                    self.child(parent, false, false, depth)?;
                    let line = self.token()?.line;
                    self.empty(parent, line);
                }
            }
        }
        self.scanner.take();
        Ok(())
    }

    fn flow_mapping_value(&mut self, parent: NodeId, depth: usize) -> Parse<()> {
        if *self.peek()? == TokenKind::Value {
            self.scanner.take();
            if !matches!(self.peek()?, TokenKind::FlowEntry | TokenKind::FlowMappingEnd) {
                return self.child(parent, false, false, depth);
            }
        }
        self.empty(parent, self.line());
        Ok(())
    }

    fn child(&mut self, parent: NodeId, block: bool, indentless: bool, depth: usize) -> Parse<()> {
        let child = self.node(block, indentless, depth)?;
        self.tree.adopt(parent, child);
        Ok(())
    }

    fn empty(&mut self, parent: NodeId, line: usize) {
        let child = self.tree.add_empty(line);
        self.tree.adopt(parent, child);
    }

    fn token(&mut self) -> Parse<&Token> {
        Ok(self.scanner.peek()?)
    }

    fn peek(&mut self) -> Parse<&TokenKind> {
        Ok(&self.scanner.peek()?.kind)
    }

    /// The line of the token that was peeked at last.
    fn line(&self) -> usize {
        self.scanner.peeked_line()
    }

    /// Takes the token that was peeked at last. Returns its line.
    fn take_line(&mut self) -> usize {
        self.scanner.take().map_or(0, |token| token.line)
    }

    /// A problem with the token that was peeked at last, inside of the construct that began at line
    /// `context`.
    fn problem(&self, text: &'static str, context: usize) -> TreeError {
        problem_at(text, self.line(), context)
    }
}

fn problem_at(text: &'static str, line: usize, context_line: usize) -> TreeError {
    TreeError::Syntax(Problem { text, found_by: FoundBy::Parser, line, context_line })
}

/// goyaml's message (`goyaml.v2/decode.go`, `fail`). If the parser found the problem, and not the scanner,
/// the line that the message names is one too low, and the message names none for the first line.
fn message(problem: &Problem) -> String {
    let line = match (problem.line, problem.found_by) {
        (0, _) => problem.context_line,
        (line, FoundBy::Scanner) => line + 1,
        (line, _) => line,
    };
    if line == 0 { problem.text.to_owned() } else { format!("line {line}: {}", problem.text) }
}
