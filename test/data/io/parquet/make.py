"""Writes the .parquet files beside it (pyarrow 26): one binary column, a way of writing it each. Row i of 60 is 9 (i % 11) + i % 3 bytes i % 7; every fifth is null."""
import pyarrow as pa, pyarrow.parquet as pq, itertools
rows=60
vals=[None if i%5==4 else bytes([i%7])*(9*(i%11)+i%3) for i in range(rows)]
t=pa.table({'row':pa.array(range(rows),pa.int64()),'jpg':pa.array(vals,pa.binary())})
for codec in ['none','snappy','gzip','brotli','zstd','lz4']:
    for v in ['1.0','2.0']:
        for d in [True,False]:
            pq.write_table(t,f'{codec}-v{v[0]}-{"dictionary" if d else "plain"}.parquet',compression=codec,data_page_version=v,use_dictionary=d,row_group_size=25,data_page_size=2000,write_batch_size=7)
pq.write_table(pa.table({'jpg':pa.array([b'a',b'bb'],pa.binary())},schema=pa.schema([pa.field('jpg',pa.binary(),nullable=False)])),'required.parquet')
pq.write_table(t,'delta.parquet',use_dictionary=False,column_encoding={'jpg':'DELTA_LENGTH_BYTE_ARRAY'})
