// What may be granted to a foreign view, by the state of the storage. Called with the GIL, on evaluated nodes.
#pragma once
#include <string>

#include "node.h"

namespace bridge {

// Empty: a writable view can be granted now. Otherwise the reason in words. Evaluates pending readers first.
std::string write_refusal(Node*);
// The plain case of an empty write_refusal(), decided from the node alone.
bool grants_write_at_once(const Node*);
// Empty: a view that relies on nobody writing can be granted now.
std::string frozen_refusal(Node*);
// Empty: a legacy capsule can be granted now (its consumer may write, and may rely on nobody writing).
std::string legacy_refusal(Node*);
// In-place updates of this array go into the bytes (its own writable views are alive).
bool written_where_it_stands(const Node*);

// Registers the lease after the matching refusal came back empty.
void grant(LeaseRecord*, Node*, Access, const char* holder, const char* protocol);

// target[...] = source, element by element; both evaluated, same shape and dtype.
void copy_elements(const Node* source, Node* target);

const char* static_text(const char* text);  // an interned copy that lives for ever (lease holders' names)

// An evaluated, dense array of its own with the same values.
NodeRef fresh_copy(Node*);

}  // namespace bridge
