"""The closed vocabulary of API spec files, and what its words mean.

A file is a mapping with `library` (top-level names that are never looked for in the project; none for utilities, whose
names projects use for modules of their own), `types`, `calls`, `defaults`, `aliases` (another qualified name -> the
spec's name; `old.*` -> `new.*` for everything under a prefix).

A call has `params` (in order; `"*rest"` and `"**kwargs"` as in Python, what follows them is given by keyword), `also`
(keyword parameters of some releases -> their range), `versions`, `home` (where it is defined, if not under its name),
`effects` and `source`.

A type has `bases`, `kind`, `match` (globs of class names), `pure` and `changes` (globs of methods without an effect,
and of methods that may change anything), `computes` and `conforms` (globs of methods of a tensor that make their result of the
values of their arguments, or only take a place, a shape or a type from them), `folds` (those that make a single number of the
tensor), `attributes` (name -> form), `protocol`
(effects: what the framework does with an instance of a user subclass, `$self`), `versions`, `home`, and `group: true`
when no class has its name.

An effect is a mapping with one verb:
  new: NAME, kind: …, type: …, facts: {…}    make an object, bind it as $NAME; the first one is the constructor's own
  emit: EVENT, ROLE: $x …, args: {…}         something happens
  set: $object, facts: {…}                   facts of an object
  link: $object, attrs: {name: $x …}         attributes of an object
  let: NAME, value: FORM                     bind $NAME
  call: $callable, args: […], as: NAME       run the user's function; open: true for arguments that nobody knows, open:
                                             options for those of the command line,
                                             context: worker for code that runs in a data loader worker, forked for
                                             code that runs in another process, where it changes nothing in this one,
                                             child for what the user starts in a process of its own (it may train),
                                             batched for code that gets several rows; a list of such names, too
  on: $object, method: m, args: […] …        the same with a method of the user's class, also through wrappers and in
                                             lists; named: {name: $x …} for keyword arguments
  apply: $object, method: m, args: […] …     call a method, the library's own too
  protocol: $object                          what the framework does with an instance of a user subclass
  attach: $hook, to: $optimizer, runs: after call the user's function at each step of an optimizer (of all of them: to
                                             $process), before or after it
  havoc: [$x …]                              anything may happen to these objects
  return: FORM
and optionally when, versions, unknown (havoc | skip: what an unknown condition does), each ($list, binds $item).

A FORM is a term ($name, $name.attribute, $kwargs.key, a literal, a derivation, a condition), a list of forms, or one of
  {view: $x, type: T, mark: fact}    a wrapper, and a fact that is true of it
  {views: $list, kind: model}        the list, each object of the kind wrapped
  {wrapped: $x}, {base: $x}          what a wrapper wraps; the same through all wrappers
  {submodule: $x, path: p, type: T}
  {parameters: $x, named: …, modules: …}
  {tensor: plain}, {attached: $x}    data; a tensor on the graph of the last forward
  {like: [$x …], kept: true}         a tensor that depends on these, and whose value backward needs
  {scaled: $x, by: $scaler}, {hack: $x}
  {cut: detach, of: $x, keeps: tensors}    $x without its graph; but when it is a tensor with one
  {unpack: $list}                    its only item, or the list
  {first: $list}, {spread: $list}    its first item; its items as several arguments
  {chain: $list}, {held: $x}         the modules in a list (or in the only dict in it) that run in turn, nothing where they are
                                     not all known or layers of torch alone; what a container of modules holds
  {pick: optimizer, of: $x}          the objects of a kind in a nested value
  {dict: {name: $x …}, open: true}   a dict; open: with other keys that nobody knows
  {frame: arguments}                 an object with the arguments of the function that the call stands in
  {dataclasses: $types, given: $m}   an instance of each, made of a mapping; without one its fields may differ from their defaults
  {unknown: $name, default: $x}      an unknown, the same wherever the same is asked for
  {saved: $file}                     what this program saved there
  {row: $dataset, several: true}     one of its rows; a list of them
  {encoded: $text, padding: $p, tensors: $kind}    the batch that a tokenizer returns; rows: true when it is given rows that
                                     are encoded already; device: where it puts its tensors
  {stacked: $rows, filler: $x}       one tensor of several, filled up to one length
  {text: $x}
  {location: $text}                  a path object
  {contents: $file}                  the text in a file: of a path, or of an object with the file as its `name`
  {parsed: $text, format: yaml, attributes: true}
                                     the configuration in a file (yaml, json, toml) as a dict, whose items are attributes too
  {dotted: $dict}                    the same dict, with attributes
"""

from __future__ import annotations

ROLES = frozenset(
    {
        "model",
        "config",
        "optimizer",
        "scheduler",
        "scaler",
        "loader",
        "dataset",
        "collator",
        "tokenizer",
        "trainer",
        "arguments",
        "accelerator",
        "loss",
        "object",
        "reference",
    }
)
DERIVATIONS = frozenset(
    {
        "quantization",
        "published-base",
        "device",
        "dtype",
        "truth",
        "inference",
        "saved-setting",
        "trainable",
        "checkpointing",
        "workers",
        "processes",
        "spawn",
        "mode",
        "adapter",
        "parts",
        "architecture",
        "by-default",
        "certain",
        "negated",
        "grad-enabled",
        "precision",
        "prefix",
        "native",
        "checkpointing-hook",
        "worker",
        "token",
        "special-tokens",
        "adapter-configs",
        "active-adapter",
        "active-adapter-config",
        "token-and-id",
        "path",
        "place",
        "folder",
        "graph-free",
        "labels",
        "outputs",
        "row-format",
    }
)
TESTS = frozenset(
    {
        "set",
        "unset",
        "undecided",
        "equals",
        "adapted",
        "checkpointed",
        "peft",
        "quantized",
        "defined",
        "not",
        "all",
        "any",
        "true",
        "kind",
        "type",
        "text",
        "cold",
    }
)
VERB_KEYS: dict[str, frozenset[str]] = {
    "new": frozenset({"new", "kind", "type", "facts"}),
    "emit": frozenset({"emit", "args"}) | ROLES,
    "set": frozenset({"set", "facts"}),
    "link": frozenset({"link", "attrs"}),
    "call": frozenset({"call", "args", "context", "as", "open"}),
    "on": frozenset({"on", "method", "args", "named", "context", "as", "open"}),
    "apply": frozenset({"apply", "method", "args", "context", "as", "open"}),
    "protocol": frozenset({"protocol"}),
    "attach": frozenset({"attach", "to", "runs"}),
    "let": frozenset({"let", "value"}),
    "havoc": frozenset({"havoc"}),
    "return": frozenset({"return"}),
}
COMMON_KEYS = frozenset({"when", "versions", "unknown", "each"})
RETURN_FORMS: dict[str, frozenset[str]] = {
    "view": frozenset({"view", "type", "mark"}),
    "parameters": frozenset({"parameters", "named", "modules"}),
    "tensor": frozenset({"tensor", "device", "file"}),
    "attached": frozenset({"attached"}),
    "like": frozenset({"like", "kept"}),
    "scaled": frozenset({"scaled", "by"}),
    "base": frozenset({"base"}),
    "wrapped": frozenset({"wrapped"}),
    "saved": frozenset({"saved"}),
    "cut": frozenset({"cut", "of", "keeps"}),
    "hack": frozenset({"hack"}),
    "unpack": frozenset({"unpack"}),
    "submodule": frozenset({"submodule", "path", "type"}),
    "derive": frozenset({"derive", "from"}),
    "text": frozenset({"text"}),
    "spread": frozenset({"spread"}),
    "views": frozenset({"views", "kind"}),
    "pick": frozenset({"pick", "of"}),
    "unknown": frozenset({"unknown", "default", "fixed"}),
    "dataclasses": frozenset({"dataclasses", "given"}),
    "dict": frozenset({"dict", "open"}),
    "frame": frozenset({"frame"}),
    "first": frozenset({"first"}),
    "chain": frozenset({"chain"}),
    "held": frozenset({"held"}),
    "encoded": frozenset({"encoded", "padding", "tensors", "rows", "device"}),
    "stacked": frozenset({"stacked", "filler"}),
    "row": frozenset({"row", "several"}),
    "location": frozenset({"location"}),
    "place": frozenset({"place"}),
    "contents": frozenset({"contents"}),
    "parsed": frozenset({"parsed", "format", "attributes"}),
    "dotted": frozenset({"dotted"}),
}
