"""What a warehouse does with an export.

warehouse.py query SQL              rows of a DuckDB query, a JSON array of texts a line
warehouse.py copy URL BUCKET DIR    every object of a bucket, as files
"""

import json
import pathlib
import sys


def query(sql):
    import duckdb

    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    for row in database.execute(sql).fetchall():
        print(json.dumps([None if value is None else str(value) for value in row]))


def copy(url, bucket, directory):
    import boto3

    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="tests", aws_secret_access_key="tests"
    )
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            path = pathlib.Path(directory) / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, found["Key"], str(path))


{"query": query, "copy": copy}[sys.argv[1]](*sys.argv[2:])
