// Masks: the places of their true elements.
#pragma once
#include "infer.h"

namespace bridge {

// Positions of the true elements of a bool array in row-major order, int32, or int64 where that is too narrow. Evaluates
// the mask; the result has values. Threaded.
NodeRef true_places(Node* mask);

}  // namespace bridge
