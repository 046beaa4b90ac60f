"""rpm's databases of installed packages: three formats, the headers in them, their signatures."""
