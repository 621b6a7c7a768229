"""The parts of our own S3 stub: `servers.stub_s3.StubS3` joins them."""
