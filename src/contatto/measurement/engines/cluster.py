"""Program for `spark-submit`: attribution and report of a folder of sealed files.

`spark-submit cluster.py FOLDER OUTPUT [POLICY]` reads FOLDER/touches and FOLDER/conversions and writes the
Parquet folders winners, attributions, report and unattributed below OUTPUT.
"""

import sys
from typing import Final

from contatto.measurement.engines.events import answer_statements
from contatto.measurement.engines.staging import load_package
from contatto.measurement.model import AttributionPolicy

RESULTS: Final = ("attributions", "report", "unattributed")
"""Results beside the winners, which all others need."""


def main(folder: str, output: str, policy: str = AttributionPolicy.CLICK_FIRST) -> None:
    # `spark-submit` chose the master and the settings
    session = load_package("pyspark.sql", "spark").SparkSession.builder.appName("contatto").getOrCreate()
    for table in ("touches", "conversions"):
        session.read.parquet(f"{folder}/{table}").createOrReplaceTempView(table)
    answer_statements(session, AttributionPolicy(policy), RESULTS, output)
    session.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
