// Arrays and composites as JSON. Runs in ordinary sessions, inside pg::call.
//
// A composite's shape can change while the output of the table's column lives on (ALTER TYPE ... ADD ATTRIBUTE does not
// touch the tables that use the type). So a composite checks its shape at every value, at the cost of one comparison,
// and claims Numbers::nested whatever it holds now.
#include "pg/values.hpp"

#include "backend/json_value.hpp"

namespace plank::backend {
namespace {

struct ArrayOutput : ValueOutput {
	ValueOutput* element;
};

struct Field {
	ValueOutput* output;  // null: dropped
	const char* key;      // with its comma and colon
	int key_length;
};

// Never changed once built: a value that is being printed keeps the shape it started with.
struct Shape {
	uint64 identifier;  // of the type cache's tuple descriptor that it was made from
	TupleDesc descriptor;
	Field* fields;
};

struct CompositeOutput : ValueOutput {
	MemoryContext context;
	TypeCacheEntry* entry;  // lives as long as the session; null for anonymous records
	Shape* shape;
};

// Where the next element of an array lies.
struct ArrayCursor {
	const char* data;
	const bits8* nulls;  // null when no element is
	int index;
};

void append_element(StringInfo out, const ValueOutput* element, ArrayCursor& cursor)
{
	const int index = cursor.index++;
	if (cursor.nulls && (cursor.nulls[index / 8] & (1 << (index % 8))) == 0) {
		append_raw(out, "null", 4);
		return;
	}
	const Datum value = fetch_att(cursor.data, element->by_value, element->length);
	append_value(out, element, value);
	cursor.data = att_addlength_pointer(cursor.data, element->length, cursor.data);
	cursor.data = reinterpret_cast<const char*>(att_align_nominal(cursor.data, element->align));
}

void append_dimension(StringInfo out, const ValueOutput* element, const int* dimensions, int count, ArrayCursor& cursor)
{
	append_raw(out, "[", 1);
	for (int i = 0; i < dimensions[0]; i++) {
		if (i > 0) append_raw(out, ",", 1);
		if (count == 1) {
			CHECK_FOR_INTERRUPTS();
			append_element(out, element, cursor);
		} else {
			append_dimension(out, element, dimensions + 1, count - 1, cursor);
		}
	}
	append_raw(out, "]", 1);
}

void append_array(StringInfo out, const ValueOutput* element, const ArrayType* array)
{
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) <= 0) {
		append_raw(out, "[]", 2);
		return;
	}
	ArrayCursor cursor = {ARR_DATA_PTR(array), ARR_NULLBITMAP(array), 0};
	append_dimension(out, element, ARR_DIMS(array), ARR_NDIM(array), cursor);
}

void print_array(StringInfo out, const ValueOutput* output, Datum value)
{
	append_array(out, static_cast<const ArrayOutput*>(output)->element, DatumGetArrayTypeP(value));
}

Shape* new_shape(TupleDesc descriptor, uint64 identifier, MemoryContext context)
{
	Shape* const shape = new_output<Shape>(context);
	const MemoryContext caller = MemoryContextSwitchTo(context);
	// With its constraints: they hold the values of columns added after a row was stored.
	shape->descriptor = CreateTupleDescCopyConstr(descriptor);
	MemoryContextSwitchTo(caller);
	shape->identifier = identifier;
	shape->fields = static_cast<Field*>(MemoryContextAllocZero(context, sizeof(Field) * Max(descriptor->natts, 1)));

	bool is_first = true;
	for (int i = 0; i < descriptor->natts; i++) {
		const FormData_pg_attribute* const attribute = TupleDescAttr(shape->descriptor, i);
		if (attribute->attisdropped) continue;
		const char* const name = NameStr(attribute->attname);
		StringInfoData key;
		initStringInfo(&key);
		if (!is_first) append_raw(&key, ",", 1);
		append_json_string(&key, name, static_cast<int>(strlen(name)));
		append_raw(&key, ":", 1);
		is_first = false;

		Field& field = shape->fields[i];
		field.output = resolve_output(attribute->atttypid, Place::inside, context);
		field.key = MemoryContextStrdup(context, key.data);
		field.key_length = key.len;
		pfree(key.data);
	}
	return shape;
}

void load_shape(CompositeOutput* composite)
{
	TypeCacheEntry* const entry = lookup_type_cache(composite->type, TYPECACHE_TUPDESC);
	if (!entry->tupDesc)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
		                errmsg("type %s is not composite", format_type_be(composite->type))));
	composite->entry = entry;
	if (composite->shape && composite->shape->identifier == entry->tupDesc_identifier) return;

	// Resolving the fields may look at the catalog and so replace the entry's descriptor: hold this one.
	const TupleDesc descriptor = entry->tupDesc;
	const uint64 identifier = entry->tupDesc_identifier;
	PinTupleDesc(descriptor);
	composite->shape = new_shape(descriptor, identifier, composite->context);
	ReleaseTupleDesc(descriptor);
}

void append_fields(StringInfo out, const Shape* shape, HeapTupleHeader header)
{
	HeapTupleData tuple = {};
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;

	const int count = shape->descriptor->natts;
	auto* const values = static_cast<Datum*>(palloc(sizeof(Datum) * Max(count, 1)));
	auto* const nulls = static_cast<bool*>(palloc(sizeof(bool) * Max(count, 1)));
	heap_deform_tuple(&tuple, shape->descriptor, values, nulls);

	append_raw(out, "{", 1);
	for (int i = 0; i < count; i++) {
		const Field& field = shape->fields[i];
		if (!field.output) continue;
		append_raw(out, field.key, field.key_length);
		if (nulls[i])
			append_raw(out, "null", 4);
		else
			append_value(out, field.output, values[i]);
	}
	append_raw(out, "}", 1);
	pfree(values);
	pfree(nulls);
}

void print_composite(StringInfo out, const ValueOutput* output, Datum value)
{
	check_stack_depth();
	const HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	auto* const composite = const_cast<CompositeOutput*>(static_cast<const CompositeOutput*>(output));
	const Oid type = HeapTupleHeaderGetTypeId(header);

	if (unlikely(type != composite->type || type == RECORDOID)) {
		// Only a record says by itself what it is; no table column can be one.
		const TupleDesc descriptor = lookup_rowtype_tupdesc_copy(type, HeapTupleHeaderGetTypMod(header));
		append_fields(out, new_shape(descriptor, 0, CurrentMemoryContext), header);
		return;
	}
	const TypeCacheEntry* const entry = composite->entry;
	if (unlikely(!entry->tupDesc || entry->tupDesc_identifier != composite->shape->identifier)) load_shape(composite);
	append_fields(out, composite->shape, header);
}

}  // namespace

ValueOutput* resolve_array(Oid element, MemoryContext context)
{
	ArrayOutput* const output = new_output<ArrayOutput>(context);
	output->print = print_array;
	output->element = resolve_output(element, Place::inside, context);
	output->numbers = output->element->numbers == Numbers::none ? Numbers::none : Numbers::nested;
	return output;
}

ValueOutput* resolve_composite(Oid type, MemoryContext context)
{
	CompositeOutput* const output = new_output<CompositeOutput>(context);
	output->print = print_composite;
	output->numbers = Numbers::nested;
	output->type = type;
	output->context = context;
	if (type != RECORDOID) load_shape(output);
	return output;
}

}  // namespace plank::backend
