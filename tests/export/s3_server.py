"""An S3 server for tests: moto's, on a loopback port of the kernel's choice, with the bucket that the argument names."""

import sys
import threading

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
client = boto3.client(
    "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="tests", aws_secret_access_key="tests"
)
client.create_bucket(Bucket=sys.argv[1])
print(f"s3: ready {url}", flush=True)
threading.Event().wait()
