package beametl;

import java.util.Collection;
import org.apache.flink.contrib.streaming.state.RocksDBOptionsFactory;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;

/**
 * Bounds RocksDB's own log of its files. Each checkpoint adds to it and copies all of it, up to 1 GB otherwise: of a source
 * that has nothing to read, 7 KB.
 */
public final class SmallManifest implements RocksDBOptionsFactory {
  private static final long BYTES = 256 << 10;

  @Override
  public DBOptions createDBOptions(DBOptions options, Collection<AutoCloseable> toClose) {
    return options.setMaxManifestFileSize(BYTES);
  }

  @Override
  public ColumnFamilyOptions createColumnOptions(ColumnFamilyOptions options, Collection<AutoCloseable> toClose) {
    return options;
  }
}
