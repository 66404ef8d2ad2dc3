// Looking the extension up. Runs in the worker.
#include "pg/extension.hpp"

#include "pg/compat.hpp"
#include "pg/guard.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "common/file_perm.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
}

namespace plank::pg {

std::string extension_version()
{
	const char* version = call([]() -> const char* {
		const Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
		ScanKeyData key;
		ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("plank"));
		const SysScanDesc scan = systable_beginscan(catalog, ExtensionNameIndexId, true, nullptr, 1, &key);
		const HeapTuple tuple = systable_getnext(scan);
		const char* found = nullptr;
		if (HeapTupleIsValid(tuple)) {
			bool null = false;
			const Datum datum = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(catalog), &null);
			if (!null) found = TextDatumGetCString(datum);
		}
		systable_endscan(scan);
		table_close(catalog, AccessShareLock);
		return found;
	});
	return version ? version : "";
}

std::string temporary_directory()
{
	const std::string directory = "base/" PG_TEMP_FILES_DIR;
	(void)MakePGDirectory(directory.c_str());
	return directory;
}

}  // namespace plank::pg
