//! The imports of a crate, resolved to the files that define the imported items.
//!
//! The source files are parsed with `syn`. Macros are not expanded, and only the paths of `use` items are followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Item, UseTree, Visibility};

/// A module as its path within the crate, such as `["record", "event"]`. The path of the crate root is empty.
pub(crate) type Module = Vec<String>;

/// One imported path, as written in the source.
pub(crate) type ImportPath = Vec<String>;

/// One source file of a crate.
#[derive(Default)]
struct Source {
    /// Names that the file defines.
    defines: BTreeSet<String>,
    /// Paths that the file imports with a private `use`.
    imports: Vec<ImportPath>,
    /// Names that the file re-exports with `pub use`, with the path that each is imported from.
    re_exports: BTreeMap<String, ImportPath>,
}

/// The source files of one crate.
#[derive(Default)]
pub(crate) struct CrateSources {
    modules: BTreeMap<Module, Source>,
}

/// The result of resolving an imported path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The module that defines the imported item.
    pub(crate) module: Module,
    /// Whether the path passes through a re-export (`pub use`).
    pub(crate) is_re_exported: bool,
}

impl CrateSources {
    /// Parses all source files below `src`, which contains `lib.rs` or `main.rs`.
    pub(crate) fn read(src: &Path) -> Self {
        let root = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().find(|path| path.exists());
        let mut sources = Self::default();
        sources.read_module(Vec::new(), &root.unwrap());
        sources
    }

    fn read_module(&mut self, module: Module, path: &Path) {
        let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
        let mut source = Source::default();
        for item in &file.items {
            match item {
                Item::Mod(child) if child.content.is_none() => {
                    if !is_for_tests(&child.attrs) {
                        let name = child.ident.to_string();
                        let below = [module.clone(), vec![name.clone()]].concat();
                        self.read_module(below, &file_of(path, &name));
                    }
                }
                Item::Use(import) if !is_for_tests(&import.attrs) => {
                    let mut paths = Vec::new();
                    flatten(&import.tree, &mut Vec::new(), &mut paths);
                    if matches!(import.vis, Visibility::Inherited) {
                        source.imports.extend(paths.into_iter().map(|(_, path)| path));
                    } else {
                        source.re_exports.extend(paths);
                    }
                }
                _ => source.defines.extend(name_of(item)),
            }
        }
        self.modules.insert(module, source);
    }

    /// Iterates over the modules, each with the paths that it imports.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (&Module, &[ImportPath])> {
        self.modules.iter().map(|(module, source)| (module, source.imports.as_slice()))
    }

    /// Resolves a path that the module `from` imports. `None` when the path refers to another crate.
    pub(crate) fn resolve(&self, from: &Module, path: &[String]) -> Option<Target> {
        let mut at = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => at = Vec::new(),
            "self" => {}
            "super" => {
                at.pop();
                while rest.get(1).is_some_and(|segment| segment == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            _ => return None,
        }
        self.walk(at, &rest[1..])
    }

    fn walk(&self, mut at: Module, path: &[String]) -> Option<Target> {
        for (number, segment) in path.iter().enumerate() {
            let source = self.modules.get(&at)?;
            let below = [at.clone(), vec![segment.clone()]].concat();
            if self.modules.contains_key(&below) {
                at = below;
            } else if let Some(path_on) = source.re_exports.get(segment).filter(|_| !source.defines.contains(segment)) {
                let whole = [path_on.clone(), path[number + 1..].to_vec()].concat();
                let target = self.resolve(&at, &whole)?;
                return Some(Target { is_re_exported: true, ..target });
            } else {
                return Some(Target { module: at, is_re_exported: false });
            }
        }
        Some(Target { module: at, is_re_exported: false })
    }

    /// Finds a cycle of modules in which each module imports the next one. `None` when there is no cycle.
    pub(crate) fn circle(&self) -> Option<Vec<Module>> {
        let edges: BTreeMap<&Module, BTreeSet<Module>> = self
            .imports()
            .map(|(module, paths)| {
                let targets = paths.iter().filter_map(|path| self.resolve(module, path)).map(|target| target.module);
                (module, targets.filter(|target| target != module).collect())
            })
            .collect();
        let mut finished = BTreeSet::new();
        edges.keys().find_map(|module| find_circle(module, &edges, &mut Vec::new(), &mut finished))
    }
}

/// Depth-first search that ends at the first module that is already on the path.
fn find_circle(
    module: &Module,
    edges: &BTreeMap<&Module, BTreeSet<Module>>,
    path: &mut Vec<Module>,
    finished: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(first) = path.iter().position(|earlier| earlier == module) {
        return Some([path[first..].to_vec(), vec![module.clone()]].concat());
    }
    if finished.contains(module) {
        return None;
    }
    path.push(module.clone());
    let found = edges.get(module)?.iter().find_map(|next| find_circle(next, edges, path, finished));
    path.pop();
    finished.insert(module.clone());
    found
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// The file of the child module `name` that is declared in the file `parent`.
fn file_of(parent: &Path, child: &str) -> PathBuf {
    let stem = parent.file_stem().unwrap().to_str().unwrap();
    let dir = parent.parent().unwrap();
    let dir = if ["lib", "main", "mod"].contains(&stem) { dir.to_owned() } else { dir.join(stem) };
    let flat = dir.join(format!("{child}.rs"));
    if flat.exists() { flat } else { dir.join(child).join("mod.rs") }
}

/// Collects all paths of a `use` item, each with the name that it has in the file.
fn flatten(tree: &UseTree, before: &mut Vec<String>, paths: &mut Vec<(String, ImportPath)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, paths);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, paths)),
        UseTree::Name(name) if name.ident == "self" => {
            paths.extend(before.last().cloned().map(|last| (last, before.clone())));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            paths.push((name.clone(), [before.clone(), vec![name]].concat()));
        }
        UseTree::Rename(rename) => {
            paths.push((rename.rename.to_string(), [before.clone(), vec![rename.ident.to_string()]].concat()));
        }
        UseTree::Glob(_) => paths.push(("*".to_owned(), before.clone())),
    }
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Mod(item) => item.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}
