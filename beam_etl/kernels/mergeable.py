"""Types in which rows of several batches can stand in one, and rows can be taken."""

import pyarrow as pa


def mergeable(columns: pa.Schema) -> pa.Schema:
    """The schema in types that Arrow can join and take rows from.

    String and binary views become large_string and large_binary, and indices of dictionaries get 32 bits at least,
    since each batch may bring other values. So it is inside structs, maps and lists. List views stay: Arrow takes rows
    of them, but can't cast them. Metadata is dropped.
    """
    return pa.schema([with_mergeable_type(column) for column in columns])


def with_mergeable_type(column: pa.Field) -> pa.Field:
    """A column's field; see `mergeable`."""
    return column.with_type(mergeable_type(column.type))


def mergeable_type(kind: pa.DataType) -> pa.DataType:
    """A column's type; see `mergeable`."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        index = kind.index_type if kind.index_type.bit_width >= 32 else pa.int32()
        return pa.dictionary(index, mergeable_type(kind.value_type), kind.ordered)
    if pa.types.is_struct(kind):
        return pa.struct([with_mergeable_type(child) for child in kind])
    if pa.types.is_map(kind):
        return pa.map_(
            with_mergeable_type(kind.key_field),
            with_mergeable_type(kind.item_field),
            keys_sorted=kind.keys_sorted,
        )
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(with_mergeable_type(kind.value_field), kind.list_size)
    for is_list, make in ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list)):
        if is_list(kind):
            return make(with_mergeable_type(kind.value_field))
    return kind
