"""From run folders to tables, figures and one page: `collect -> tables -> figures -> page`.

`report.build_report` is the entry; `python -m data2vec report` calls it.
"""
