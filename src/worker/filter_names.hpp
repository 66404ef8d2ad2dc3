// Names in conditions of what the role may not know of: schemas that it may not use, and row types of tables that it may
// not SELECT from, which would tell the tables' names and columns. They become names that nothing has, before the parser
// looks them up. So the answer is the one for what does not exist, however and whenever the parser finds that out. Runs
// in the worker.
#pragma once

#include <string>

#include "pg/expression.hpp"

namespace plank::worker {

// Of one node of a condition as it came from the grammar, which it changes. May ereport.
void hide_names(Node* node, Oid role);

// What the parser has said, with the names as they were written.
std::string without_hiding(std::string text);

}  // namespace plank::worker
