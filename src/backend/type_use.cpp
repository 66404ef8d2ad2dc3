// Looks through the columns of tracked tables for a type. Runs in ordinary sessions, inside pg::call.
#include "core/capture_arguments.hpp"

#include "backend/tracking.hpp"
#include "backend/type_use.hpp"

namespace plank::backend {

namespace {

bool has_column_using(Oid relation, Oid type);

bool contains(Oid whole, Oid type)
{
	check_stack_depth();
	if (whole == type) return true;
	const Oid base = getBaseType(whole);
	if (base != whole) return contains(base, type);
	const Oid element = get_element_type(whole);
	if (OidIsValid(element)) return contains(element, type);
	const Oid range = get_multirange_range(whole);
	if (OidIsValid(range)) return contains(range, type);
	const Oid subtype = get_range_subtype(whole);
	if (OidIsValid(subtype)) return contains(subtype, type);
	const Oid row = get_typ_typrelid(whole);
	return OidIsValid(row) && has_column_using(row, type);
}

bool has_column_using(Oid relation, Oid type)
{
	const int columns = column_count(relation);
	for (int i = 1; i <= columns; ++i) {
		const Oid column = get_atttype(relation, static_cast<AttrNumber>(i));
		if (OidIsValid(column) && contains(column, type)) return true;
	}
	return false;
}

}  // namespace

List* tracked_tables_using(Oid type)
{
	List* tables = NIL;
	ListCell* cell;
	foreach (cell, OidIsValid(type) ? tracked_tables() : NIL)
		if (has_column_using(lfirst_oid(cell), type)) tables = lappend_oid(tables, lfirst_oid(cell));
	return tables;
}

}  // namespace plank::backend
